"""`declip-rt score` as its users run it: real processes, bad inputs, kills and resumes."""

from __future__ import annotations

import csv
import ctypes
import io
import json
import os
import pty
import select
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from declip_rt import Bundle, Prompts, Scorer
from tests.conftest import Run, encoded, picture


def rows(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".csv":
        with path.open(newline="", errors="surrogateescape") as file:
            return list(csv.DictReader(file))
    return list(pyarrow.parquet.read_table(path).to_pylist())


def names(found: list[dict[str, object]]) -> list[str]:
    return [Path(str(row["path"])).name for row in found]


def test_a_folder_prints_a_table_and_says_what_runs(declip: Run, folder: Path) -> None:
    done = declip("score", folder, "--device", "cpu")
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 1 + 6
    assert [line.split()[0][-5:] for line in lines[1:]] == [f"{name}.jpg" for name in "abcdef"]
    said = done.stderr.decode().splitlines()
    assert said[0].startswith("model declip-tiny, device cpu (ONNX Runtime")
    assert said[1].startswith("6 scored, 0 failed; ")
    assert len(said) == 2, "no progress bar where stderr is no terminal"


def test_quiet_leaves_stderr_empty(declip: Run, folder: Path) -> None:
    assert declip("score", folder, "--quiet").stderr == b""


def test_quiet_silences_libraries_too(declip: Run, folder: Path) -> None:
    """libtiff, for one, prints what it thinks of a file by itself; an error of ours is still told."""
    made = io.BytesIO()
    Image.fromarray(picture()).save(made, "TIFF", compression="tiff_lzw")
    data = bytearray(made.getvalue())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    (folder / "odd.tif").write_bytes(data)
    assert declip("score", folder, "--quiet").stderr == b""
    assert b"no such" in declip("score", folder, "--quiet", "--model", "no such").stderr


def test_a_damaged_photo_says_so_or_fails(declip: Run, folder: Path, tmp_path: Path) -> None:
    data = encoded(picture(), "JPEG", quality=95)
    (folder / "odd.jpg").write_bytes(data.replace(b"\xff\xc4", b"junk\xff\xc4", 1))
    out = tmp_path / "scores.jsonl"
    assert declip("score", folder, "--out", out).returncode == 0
    told = {Path(str(row["path"])).name: row["damaged"] for row in rows(out)}
    assert "Corrupt JPEG data" in str(told.pop("odd.jpg"))
    assert set(told.values()) == {None}
    assert declip("score", folder, "--out", out, "--overwrite", "--strict").returncode == 1
    assert "damaged: Corrupt JPEG data" in str(next(row["error"] for row in rows(out) if "odd" in str(row["path"])))


@pytest.mark.parametrize("size", ["0", "-1G", "much", "1X"])
def test_a_size_of_memory_is_checked(declip: Run, folder: Path, size: str) -> None:
    done = declip("score", folder, f"--memory={size}")
    assert done.returncode == 2
    assert b"is no size; give one such as 8G or 500M" in done.stderr


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_out_files_carry_every_column(declip: Run, folder: Path, tmp_path: Path, bundle: Bundle, suffix: str) -> None:
    out = tmp_path / f"scores{suffix}"
    assert declip("score", folder, "--out", out).returncode == 0
    found = rows(out)
    assert names(found) == [f"{name}.jpg" for name in "abcdef"]
    for row in found:
        assert (int(str(row["width"])), int(str(row["height"]))) == (320, 260)
        assert all(0 <= float(str(row[head.name])) <= 1 for head in bundle.heads)
        assert 0 <= float(str(row["percentile"])) <= 100
        assert (row["model"], row["bundle"]) == ("declip-tiny", bundle.hash)
        assert row["error"] in (None, "")


def test_jsonl_on_stdout_is_clean(declip: Run, folder: Path) -> None:
    done = declip("score", folder, "--out", "-")
    assert names([json.loads(line) for line in done.stdout.splitlines()]) == [f"{name}.jpg" for name in "abcdef"]


def test_paths_on_stdin_newline_or_nul(declip: Run, folder: Path) -> None:
    for separator in (b"\n", b"\0"):
        given = separator.join(os.fsencode(folder / f"{name}.jpg") for name in "cab")
        done = declip("score", "-", "--out", "-", input=given)
        assert names([json.loads(line) for line in done.stdout.splitlines()]) == ["c.jpg", "a.jpg", "b.jpg"]


def test_a_list_and_a_glob(declip: Run, folder: Path) -> None:
    (folder / "list.csv").write_text("image,mos\nb.jpg,3\na.jpg,4\n")
    done = declip("score", f"{folder}/[ef].jpg", "--list", folder / "list.csv", "--out", "-")
    assert names([json.loads(line) for line in done.stdout.splitlines()]) == ["e.jpg", "f.jpg", "b.jpg", "a.jpg"]


def test_html(declip: Run, folder: Path, tmp_path: Path) -> None:
    assert declip("score", folder, "--html", tmp_path / "report.html").returncode == 0
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 6


def test_sort_top_and_bottom(declip: Run, folder: Path) -> None:
    whole = declip("score", folder, "--sort", "aesthetic").stdout.decode().splitlines()[1:]
    values = [float(line.split()[2]) for line in whole]
    assert values == sorted(values, reverse=True)
    ends = declip("score", folder, "--top", 1, "--bottom", 2, "--sort", "aesthetic").stdout.decode().splitlines()[1:]
    assert ends == [whole[0], whole[-2], whole[-1]]
    worst = declip("score", folder, "--sort", "aesthetic", "--worst-first").stdout.decode().splitlines()[1:]
    assert worst == whole[::-1]


def test_what_is_selected_goes_to_the_next_command(declip: Run, folder: Path) -> None:
    (folder / "a.jpg").rename(folder / "a b\nc.jpg")
    lowest = [json.loads(line) for line in declip("score", folder, "--bottom", "30%", "--out", "-").stdout.splitlines()]
    assert len(lowest) == 2, "30 % of 6, rounded up"
    alone = declip("score", folder, "--bottom", "30%", "--paths", "-0").stdout.split(b"\0")
    assert [os.fsdecode(path) for path in alone[:-1]] == [row["path"] for row in lowest]
    gate = lowest[0]["technical"] + 1e-9
    done = declip("score", folder, "--paths", "-0", "--fail-below", gate)
    assert sorted(done.stdout.split(b"\0")) == sorted(alone)
    assert done.returncode == 1
    assert declip("score", folder, "-0").returncode == 2
    assert declip("score", folder, "--paths", "--out", "-").returncode == 2


def test_fail_below_is_a_gate(declip: Run, folder: Path) -> None:
    assert declip("score", folder, "--fail-below", "0").returncode == 0
    done = declip("score", folder, "--fail-below", "1")
    assert done.returncode == 1
    assert b"6 below 1;" in done.stderr


def make_bad_inputs(folder: Path) -> dict[str, bool]:
    """Writes every odd file into the folder: name -> whether it is scored."""
    whole = encoded(picture(9))
    made = Image.fromarray(picture(8, 60, 50))
    (folder / "zero.jpg").touch()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "corrupt.png").write_bytes(encoded(picture(9), "PNG")[:100] + bytes(500))
    (folder / "text.jpg").write_text("this is no image")
    (folder / "png-inside.jpg").write_bytes(encoded(picture(9), "PNG"))
    (folder / "unreadable.jpg").write_bytes(whole)
    (folder / "unreadable.jpg").chmod(0o000)
    (folder / "vanished.jpg").symlink_to(folder / "gone")
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    Image.new("RGB", (1, 1)).save(folder / "1x1.png")
    Image.new("RGB", (1, 10_000)).save(folder / "1x10000.png")
    Image.fromarray(np.full((40, 40), 30_000, np.uint16)).save(folder / "16bit.png")
    made.convert("CMYK").save(folder / "cmyk.jpg")
    made.convert("P").save(folder / "palette.png")
    made.convert("RGBA").save(folder / "alpha.png")
    made.convert("L").save(folder / "grey.jpg")
    made.save(folder / "animated.gif", save_all=True, append_images=[made])
    exif = Image.Exif()
    exif[0x0112] = 6
    made.save(folder / "rotated.jpg", exif=exif)
    bad = {"zero.jpg", "truncated.jpg", "corrupt.png", "text.jpg", "unreadable.jpg", "vanished.jpg", "bomb.png"}
    return {path.name: path.name not in bad for path in folder.iterdir()}


def give_up_reading_everything() -> None:
    """Takes root's right to read any file from a process to be (CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH)."""
    if os.getuid() == 0:
        for capability in (1, 2):
            assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP


def test_bad_inputs_are_rows_and_nothing_is_lost(declip: Run, folder: Path) -> None:
    expected = make_bad_inputs(folder)
    run = ("score", folder, "--out", "-", "--batch", 4, "--memory", "1G")
    done = declip(*run, preexec_fn=give_up_reading_everything)
    assert done.returncode == 1
    found = {Path(row["path"]).name: row for row in map(json.loads, done.stdout.splitlines())}
    assert {name: row["error"] is None for name, row in found.items()} == expected
    for row in found.values():
        assert (row["technical"] is None) == (row["error"] is not None)
    assert "Permission denied" in found["unreadable.jpg"]["error"]
    assert "empty" in found["zero.jpg"]["error"]
    assert "20000x20000 needs 8.9 GiB of memory" in found["bomb.png"]["error"]
    assert (found["rotated.jpg"]["width"], found["rotated.jpg"]["height"]) == (50, 60)


def test_names_that_are_no_utf8_go_through_every_format(declip: Run, tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9\x1b.jpg"
    with open(raw, "wb") as file:
        file.write(encoded(picture()))
    for suffix in ("csv", "jsonl", "parquet"):
        done = declip("score", os.fsdecode(raw), "--out", tmp_path / f"o.{suffix}", "--html", tmp_path / "r.html")
        assert done.returncode == 0, done.stderr
        assert b"\x1b" not in done.stdout
        again = declip("score", os.fsdecode(raw), "--out", tmp_path / f"o.{suffix}", "--resume")
        assert b"1 of them kept" in again.stderr, again.stderr
    assert os.fsencode(str(rows(tmp_path / "o.csv")[0]["path"])) == raw
    assert str(rows(tmp_path / "o.jsonl")[0]["path"]).endswith("caf\\xe9\x1b.jpg"), "no reader takes lone surrogates"


CALM = ("--prompts", "calm, still=a calm scene:a busy scene", "--semantic-prompts", "a cat:a dog")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_prompts_are_columns(declip: Run, folder: Path, tmp_path: Path, prompted: Path, suffix: str) -> None:
    out = tmp_path / f"scores{suffix}"
    done = declip(
        "score", folder, "--model", prompted, *CALM, "--out", out, "--html", tmp_path / "r.html", "--sort", "a cat"
    )
    assert done.returncode == 0, done.stderr
    with Scorer(prompted, "cpu", prompts=[Prompts("a cat", ("a cat",), ("a dog",), "semantic")]) as scorer:
        for row in rows(out):
            assert 0 < float(str(row["calm, still"])) < 1
            expected = scorer.score(str(row["path"])).prompts["a cat"]
            assert float(str(row["a cat"])) == pytest.approx(expected, abs=1e-4)
    assert "calm, still" in done.stdout.decode().splitlines()[0]
    assert '<option value="9">calm, still</option>' in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompts", "sharp"], "[NAME=]HIGH:LOW"),
        (["--prompts", "technical=a:b"], "give them another name"),
        (["--prompts", "calm=a:b", "--semantic-prompts", "calm=a:b"], "two prompts are called 'calm'"),
        (["--prompts", f"{'word ' * 70}:b"], "has 70 tokens, the model reads 62"),
    ],
)
def test_wrong_prompts_say_why_in_one_line(
    declip: Run, folder: Path, prompted: Path, arguments: list[str], message: str
) -> None:
    done = declip("score", folder, "--model", prompted, *arguments)
    assert done.returncode == 2
    assert message in done.stderr.decode().splitlines()[-1]
    assert b"Traceback" not in done.stderr


def test_a_terminal_gets_a_progress_bar(folder: Path) -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    command = [sys.executable, "-m", "declip_rt", "score", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        seen = b""
        while select.select([master], [], [], 60)[0]:
            try:
                seen += os.read(master, 4096)
            except OSError:  # the other end closed
                break
        assert process.stdout is not None
        table = process.stdout.read()
    assert b"6/6" in seen
    assert b" images/s]" in seen, "the bar, and not only the last line"
    assert len(table.splitlines()) == 7


def test_a_reader_that_leaves_is_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m declip_rt score {folder} --out - --batch 1 | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert len(done.stdout.splitlines()) == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing-here/"], "1 failed"),
        (["{}", "--device", "cuda:9"], "CUDA"),
        (["{}", "--device", "tensorrt"], "check that nvidia-smi runs"),
        (["{}", "--device", "gpu"], "choose auto, cpu"),
        (["{}", "--model", "huge"], "embedded models: declip-tiny"),
        (["{}", "--out", "x.xlsx"], ".csv, .jsonl or .parquet"),
        (["{}", "--out", "no/such/x.csv"], "folder does not exist"),
        (["{}", "--resume"], "--out FILE"),
        (["{}", "--sort", "size_of_heart"], "choose one of path"),
        (["{}", "--batch", "0"], "at least 1"),
        (["{}", "--list", "nowhere.txt"], "nowhere.txt"),
        ([], "give images"),
    ],
)
def test_wrong_commands_say_why_in_one_line(declip: Run, folder: Path, arguments: list[str], message: str) -> None:
    done = declip("score", *(argument.replace("{}", str(folder)) for argument in arguments))
    assert done.returncode == (1 if message == "1 failed" else 2)
    assert message in done.stderr.decode().splitlines()[-1]
    assert b"Traceback" not in done.stderr


def test_an_empty_folder_is_not_silent(declip: Run, tmp_path: Path) -> None:
    done = declip("score", tmp_path)
    assert done.returncode == 2
    assert b"no images found" in done.stderr


def test_a_photo_that_takes_too_long_is_an_error(declip: Run, folder: Path, tmp_path: Path) -> None:
    done = declip("score", folder / "a.jpg", "--timeout", "1e-9", "--out", tmp_path / "o.csv")
    assert done.returncode == 1
    assert rows(tmp_path / "o.csv")[0]["error"] == "took longer than 1e-09 s (--timeout)"
    assert declip("score", folder / "a.jpg", "--timeout", "0").returncode == 2
