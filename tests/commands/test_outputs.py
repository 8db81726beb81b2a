"""What `declip-rt score` writes: over nothing that is not its own, whole rows alone, and no row is lost."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Run, encoded, picture


def last(stderr: bytes) -> str:
    assert b"Traceback" not in stderr, stderr
    return stderr.decode().splitlines()[-1]


@pytest.fixture
def shell(folder: Path) -> str:
    return f"{sys.executable} -m declip_rt score {folder}"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_are_replaced_only_when_asked(declip: Run, folder: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"rows{suffix}"
    assert declip("score", folder / "a.jpg", "--out", out).returncode == 0
    before = out.read_bytes()
    done = declip("score", folder, "--out", out)
    assert done.returncode == 2
    assert "--resume goes on with them, --overwrite starts again" in last(done.stderr)
    assert out.read_bytes() == before
    assert declip("score", folder, "--out", out, "--overwrite").returncode == 0
    assert out.read_bytes() != before
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("rows")] == [out.name]
    assert declip("score", folder, "--out", out, "--overwrite", "--resume").returncode == 2


@pytest.mark.parametrize("option", ["--html", "--out"])
def test_a_photo_is_no_output(declip: Run, folder: Path, option: str) -> None:
    before = {file: file.read_bytes() for file in folder.iterdir()}
    done = declip("score", option, *sorted(folder.iterdir()))
    assert done.returncode == 2
    assert "the suffix must be" in last(done.stderr)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_a_list_and_an_image_of_any_name_are_no_outputs(declip: Run, folder: Path, tmp_path: Path) -> None:
    listed, odd = tmp_path / "list.csv", tmp_path / "photo.html"
    listed.write_text(f"path\n{folder / 'a.jpg'}\n")
    shutil.copy(folder / "a.jpg", odd)
    for arguments, message in (
        (("--list", listed, "--out", listed, "--overwrite"), "name one file"),
        ((folder, "--out", tmp_path / "x.csv", "--html", tmp_path / "x.csv"), "the suffix must be"),
        ((odd, "--html", odd), "is an image to score and an output"),
    ):
        before = listed.read_bytes(), odd.read_bytes()
        done = declip("score", *arguments)
        assert done.returncode == 2
        assert message in last(done.stderr)
        assert (listed.read_bytes(), odd.read_bytes()) == before


def test_a_link_stays_one(declip: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name, option in (("rows.csv", "--out"), ("page.html", "--html")):
        (tmp_path / name).symlink_to(tmp_path / "there" / name)
        assert declip("score", folder, option, tmp_path / name).returncode == 0
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "there" / name).stat().st_size > 100


@pytest.mark.parametrize("where", ["/dev/full", "-", "closed"])
def test_no_room_on_stdout_is_one_line(shell: str, where: str) -> None:
    redirect = {"/dev/full": "> /dev/full", "-": "--out - > /dev/full", "closed": ">&-"}[where]
    done = subprocess.run(f"{shell} {redirect}", shell=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert "standard output" in last(done.stderr)


def test_closed_stdin_is_one_line(shell: str) -> None:
    done = subprocess.run(f"{shell} - <&-", shell=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert "standard input" in last(done.stderr)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_full_disk_leaves_whole_rows_that_a_run_goes_on_with(
    declip: Run, folder: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"rows{suffix}"
    whole = tmp_path / f"whole{suffix}"
    assert declip("score", folder, "--out", whole).returncode == 0
    lines = whole.read_bytes() if suffix != ".parquet" else b"{}" * 900
    limit = len(lines) * 2 // 3  # in the middle of a row
    command = [sys.executable, "-m", "declip_rt", "score", str(folder), "--out", str(out), "--batch", "1"]
    done = subprocess.run(
        command,
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2
    assert "cannot write" in last(done.stderr)
    written = out if suffix != ".parquet" else tmp_path / "rows.parquet.journal.jsonl"
    assert 0 < written.stat().st_size <= limit
    assert written.read_bytes().endswith(b"\n")
    done = declip("score", folder, "--out", out, "--resume")
    assert done.returncode == 0
    assert b"of them kept from the last run" in done.stderr


def test_rows_of_files_out_of_reach_are_kept(declip: Run, folder: Path, tmp_path: Path) -> None:
    out, listed = tmp_path / "rows.jsonl", tmp_path / "list.txt"
    listed.write_text("\n".join(map(str, sorted(folder.iterdir()))))
    assert declip("score", "--list", listed, "--out", out).returncode == 0
    before = sorted(out.read_text().splitlines())
    away = folder.rename(tmp_path / "unmounted")
    done = declip("score", "--list", listed, "--out", out, "--resume")
    assert "6 of them kept from the last run, 6 of these out of reach now" in last(done.stderr)
    assert sorted(out.read_text().splitlines()) == before
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "new.jpg").write_bytes(encoded(picture(77)))
    done = declip("score", tmp_path / "else", "--out", out, "--resume")
    assert "6 rows of other images kept" in last(done.stderr)
    assert set(before) < set(out.read_text().splitlines())
    away.rename(folder)


def test_damaged_lines_cost_their_own_rows_alone(declip: Run, folder: Path, tmp_path: Path) -> None:
    for suffix in (".csv", ".jsonl"):
        out = tmp_path / f"rows{suffix}"
        assert declip("score", folder, "--out", out).returncode == 0
        lines = out.read_bytes().splitlines(keepends=True)
        for number, (damage, lost) in enumerate(
            (
                ([*lines[:2], lines[2][:40] + b"\n", *lines[3:]], 1),
                ([*lines[:3], b"\x00\xff\xfe" * 50 + b"\n", *lines[3:]], 0),
                ([*lines[:3], b'"' + lines[3], *lines[4:]], 1),
                ([*lines[:3], b"[" * 100000 + b"\n", *lines[3:]], 0),
            )
        ):
            out.write_bytes(b"".join(damage))
            done = declip("score", folder, "--out", out, "--resume")
            assert done.returncode == 0, (suffix, number, done.stderr)
            assert b"1 damaged lines are left out" in done.stderr, (suffix, number)
            assert f"{6 - lost} of them kept".encode() in done.stderr, (suffix, number)


def test_names_come_back_from_csv_and_run_nowhere(declip: Run, tmp_path: Path) -> None:
    names = ["=cmd|'!A1'.jpg", "+1.jpg", "-x.jpg", "@a.jpg", "'=quoted.jpg", "'plain.jpg", "a\rb.jpg", 'c,"d"\ne.jpg']
    made = tmp_path / "odd"
    made.mkdir()
    for i, name in enumerate(names):
        (made / name).write_bytes(encoded(picture(i)))
    command = [sys.executable, "-m", "declip_rt", "score", "--out", str(tmp_path / "rows.csv"), "--", *names]
    subprocess.run(command, cwd=made, check=True, capture_output=True)
    with (tmp_path / "rows.csv").open(newline="") as file:
        cells = [row["path"] for row in csv.DictReader(file)]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    again = subprocess.run([*command[:6], "--resume", *command[6:]], cwd=made, check=True, capture_output=True)
    assert b"8 of them kept" in again.stderr
    command[5] = str(tmp_path / "rows.jsonl")
    subprocess.run(command, cwd=made, check=True, capture_output=True)
    assert [json.loads(line)["path"] for line in (tmp_path / "rows.jsonl").open()] == names
