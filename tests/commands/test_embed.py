"""`declip-rt embed`: the features that a Scorer gives, in files that runs go on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from declip_rt import Bundle, Scorer
from declip_rt.commands.main import main
from declip_rt.output import files, target
from declip_rt.output.features import SPACES, SUFFIXES
from tests.conftest import Run, encoded, picture
from tests.output.test_features import read

both = pytest.mark.parametrize("suffix", SUFFIXES)


def embed(*arguments: object) -> int:
    return main(["embed", *map(str, arguments), "--device", "cpu"])


def names(found: dict[str, object]) -> list[str]:
    return [Path(str(path)).name for path in found["path"]]  # type: ignore[attr-defined]


@both
def test_the_features_are_those_of_a_scorer_to_the_bit(
    folder: Path, tmp_path: Path, suffix: str, scorer: Scorer, bundle: Bundle
) -> None:
    out = tmp_path / f"f{suffix}"
    assert embed(folder, "--out", out) == 0
    found = read(out)
    assert names(found) == [f"{name}.jpg" for name in "abcdef"]
    for i, expected in enumerate(scorer.embed_many(sorted(folder.iterdir()))):
        for space in SPACES:
            assert found[space][i].tobytes() == getattr(expected, space).tobytes()
            assert np.linalg.norm(found[space][i]) == pytest.approx(1, abs=1e-5)
    assert set(found["width"]) == {320}
    assert (found["model"], found["bundle"], found["icc"]) == (bundle.name, bundle.hash, "applied")


@both
def test_a_photo_that_fails_is_a_row_and_is_named(
    folder: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "b.jpg").write_bytes(b"no image")
    out = tmp_path / f"f{suffix}"
    assert embed(folder, "--out", out) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{folder / 'b.jpg'}: not an image" in said.err
    assert "5 embedded, 1 failed; " in said.err
    found = read(out)
    assert names(found) == [f"{name}.jpg" for name in "abcdef"]
    assert "not an image" in found["error"][1]
    assert not any(error for i, error in enumerate(found["error"]) if i != 1)
    for space in SPACES:
        assert [bool(np.isnan(vector).all()) for vector in found[space]] == [i == 1 for i in range(6)]


@both
def test_resume_embeds_changed_failed_and_new_files_again(
    folder: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str], scorer: Scorer
) -> None:
    out = tmp_path / f"f{suffix}"
    (folder / "bad.jpg").touch()
    assert embed(folder, "--out", out) == 1
    (folder / "a.jpg").write_bytes(encoded(picture(50)))
    (folder / "bad.jpg").write_bytes(encoded(picture(51)))
    (folder / "new.jpg").write_bytes(encoded(picture(52)))
    capsys.readouterr()
    assert embed(folder, "--out", out, "--resume") == 0
    assert "8 embedded, 0 failed, 5 of them kept from the last run" in capsys.readouterr().err
    found = read(out)
    assert sorted(names(found)) == ["a.jpg", "b.jpg", "bad.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg", "new.jpg"]
    for path, vector in zip(found["path"], found["semantic"], strict=True):
        assert vector @ scorer.embed(str(path)).semantic == pytest.approx(1, abs=1e-5)
    assert embed(tmp_path / "photos" / "a.jpg", "--out", out, "--resume") == 0
    assert "1 of them kept from the last run, 7 rows of other images kept" in capsys.readouterr().err
    assert len(read(out)["path"]) == 8


@both
def test_rows_are_replaced_only_when_asked(
    folder: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"f{suffix}"
    assert embed(folder / "a.jpg", "--out", out) == 0
    before = out.read_bytes()
    for again, message in (
        ((), "--resume goes on with them, --overwrite starts again"),
        (("--resume", "--overwrite"), "choose --resume or --overwrite"),
        (("--resume", "--no-icc"), "has features of icc applied, and this run gives icc ignored; choose another --out"),
    ):
        assert embed(folder, "--out", out, *again) == 2
        assert message in capsys.readouterr().err
        assert out.read_bytes() == before
    assert embed(folder / "b.jpg", "--out", out, "--overwrite", "--no-icc") == 0
    assert names(read(out)) == ["b.jpg"]
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("f.")] == [out.name]


@pytest.mark.parametrize("name", ["f.csv", "f.npy", "f", "-", "photos/a.jpg"])
def test_another_suffix_is_refused_before_the_model_is_opened(
    folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "a.jpg").read_bytes()
    out = name if name == "-" else tmp_path / name
    assert embed(folder, "--out", out, "--model", "no such", "--overwrite") == 2
    assert f"--out {out}: the suffix must be .parquet or .npz" in capsys.readouterr().err
    assert (folder / "a.jpg").read_bytes() == before


def test_a_missing_library_is_told_before_the_model_is_opened(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert embed(folder, "--out", tmp_path / "f.parquet", "--model", "no such") == 2
    assert 'pip install "declip-rt[parquet]"' in capsys.readouterr().err
    assert embed(folder, "--out", tmp_path / "f.npz") == 0


def test_wrong_commands_say_why(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, listed = tmp_path / "f.parquet", tmp_path / "list.parquet"
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (("--out", out), "give images to embed: declip-rt embed PATH..."),
        (("--list", listed, "--out", listed), "--list and --out name one file"),
        ((tmp_path / "empty", "--out", out), "no images found"),
        ((folder, "--out", tmp_path / "no" / "f.npz"), "its folder does not exist"),
    ):
        assert embed(*arguments) == 2
        assert message in capsys.readouterr().err
    with target.locked(out):
        assert embed(folder, "--out", out) == 2
    assert f"is being written by process {os.getpid()}" in capsys.readouterr().err
    assert not list(tmp_path.glob("f.*"))


def test_lists_globs_and_stdin(declip: Run, folder: Path, tmp_path: Path) -> None:
    listed, out = tmp_path / "list.csv", tmp_path / "f.npz"
    listed.write_text(f"image\n{folder / 'b.jpg'}\n")
    given = b"\0".join(os.fsencode(folder / f"{name}.jpg") for name in "ca")
    done = declip("embed", "-", f"{folder}/[ef].jpg", "--list", listed, "--out", out, "--quiet", input=given)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert names(read(out)) == ["c.jpg", "a.jpg", "e.jpg", "f.jpg", "b.jpg"]


@both
def test_a_killed_run_goes_on_where_it_stopped(declip: Run, tmp_path: Path, suffix: str) -> None:
    out, photos = tmp_path / f"f{suffix}", tmp_path / "many"
    photos.mkdir()
    data = encoded(picture(0, 500, 400))
    for i in range(150):
        (photos / f"{i:03}.jpg").write_bytes(data)
    command = [sys.executable, "-m", "declip_rt", "embed", str(photos), "--out", str(out), "--batch", "2"]
    journal = files.journal(out)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as killed:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (journal.exists() and journal.read_bytes().count(b"\n") > 20):
            assert killed.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
    survived = [json.loads(line)["path"] for line in journal.read_bytes().splitlines(True) if line.endswith(b"\n")]
    assert 20 <= len(survived) < 150
    assert not out.exists()
    done = declip("embed", photos, "--out", out, "--resume")
    assert f"150 embedded, 0 failed, {len(survived)} of them kept".encode() in done.stderr
    assert names(read(out)) == [f"{i:03}.jpg" for i in range(150)]
