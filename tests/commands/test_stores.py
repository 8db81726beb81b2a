"""`score` and `embed` of archives: the rows of a folder, whatever holds the photos."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from declip_rt.commands.main import main
from tests.commands.test_score import rows
from tests.conftest import encoded, picture
from tests.images.test_stores import table_of, tar_of, zip_of
from tests.output.test_features import read

KINDS = ("tar", "zip", "parquet")
kinds = pytest.mark.parametrize("kind", KINDS)


def packed(kind: str, photos: Path, place: Path) -> Path:
    files = [(path.name, path.read_bytes()) for path in sorted(photos.iterdir())]
    out = place / f"packed.{kind}"
    if kind == "parquet":
        return table_of(out, [{"bytes": data, "path": name} for name, data in files], row_group_size=4)
    return {"tar": tar_of, "zip": zip_of}[kind](out, files)


def score(*arguments: object) -> int:
    return main(["score", *map(str, arguments), "--device", "cpu", "--quiet"])


def bare(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in ("path", "mtime_ns")}


@kinds
def test_the_scores_are_those_of_the_folder_to_the_bit(folder: Path, tmp_path: Path, kind: str) -> None:
    archive = packed(kind, folder, tmp_path)
    assert score(folder, "--out", tmp_path / "folder.jsonl") == 0
    assert score(archive, "--out", tmp_path / "archive.jsonl", "--batch", 2) == 0
    expected, found = rows(tmp_path / "folder.jsonl"), rows(tmp_path / "archive.jsonl")
    assert [row["path"] for row in found] == [f"{archive}#{name}.jpg" for name in "abcdef"]
    assert [bare(row) for row in found] == [bare(row) for row in expected]
    assert {row["mtime_ns"] for row in found} == {archive.stat().st_mtime_ns}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["photos", archive.name, "folder.jsonl", "archive.jsonl"]
    )


@kinds
def test_features_are_those_of_the_folder_to_the_bit(folder: Path, tmp_path: Path, kind: str) -> None:
    archive = packed(kind, folder, tmp_path)
    for given, out in ((folder, "folder.npz"), (archive, "archive.npz")):
        assert main(["embed", str(given), "--out", str(tmp_path / out), "--device", "cpu", "--quiet"]) == 0
    for space in ("perceptual", "semantic"):
        assert read(tmp_path / "folder.npz")[space].tobytes() == read(tmp_path / "archive.npz")[space].tobytes()


@kinds
def test_a_killed_run_goes_on_in_the_archive(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out.jsonl"
    photos.mkdir()
    data = encoded(picture(0, 500, 400))
    for i in range(150):
        (photos / f"{i:04}.jpg").write_bytes(data)
    archive = packed(kind, photos, tmp_path)
    command = [sys.executable, "-m", "declip_rt", "score", str(archive), "--out", str(out), "--batch", "2"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (out.exists() and out.read_bytes().count(b"\n") > 20):
        assert killed.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    left = out.read_bytes().count(b"\n")
    assert main(["score", str(archive), "--out", str(out), "--resume"]) == 0
    assert f"150 scored, 0 failed, {left} of them kept" in capsys.readouterr().err
    assert [row["path"] for row in rows(out)] == [f"{archive}#{i:04}.jpg" for i in range(150)]


@kinds
def test_resume_scores_an_archive_again_that_changed(
    folder: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, out = packed(kind, folder, tmp_path), tmp_path / "out.csv"
    assert score(archive, "--out", out) == 0
    packed(kind, folder, tmp_path)
    assert main(["score", str(archive), "--out", str(out), "--resume"]) == 0
    assert "6 scored, 0 failed; " in capsys.readouterr().err


def test_the_row_of_a_damaged_archive_goes_when_it_is_whole(folder: Path, tmp_path: Path) -> None:
    archive, out = packed("tar", folder, tmp_path), tmp_path / "out.csv"
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    assert score(archive, "--out", out) == 1
    assert "cut off" in str(rows(out)[-1]["error"])
    archive.write_bytes(whole)
    assert score(archive, "--out", out, "--resume") == 0
    assert [str(row["path"])[-5:] for row in rows(out)] == [f"{name}.jpg" for name in "abcdef"]


@kinds
def test_a_page_shows_photos_of_an_archive(folder: Path, tmp_path: Path, kind: str) -> None:
    archive, page = packed(kind, folder, tmp_path), tmp_path / "page.html"
    assert score(archive, "--html", page) == 0
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 6
    assert f'"link":"packed.{kind}"' in text


def test_an_archive_is_not_written_over(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = packed("parquet", folder, tmp_path)
    before = archive.read_bytes()
    assert score(archive, "--out", archive, "--overwrite") == 2
    assert "is an image to score and an output" in capsys.readouterr().err
    assert archive.read_bytes() == before


def test_archives_may_be_listed_and_a_column_named(folder: Path, tmp_path: Path) -> None:
    packed("tar", folder, tmp_path)
    packed("parquet", folder, tmp_path)
    (tmp_path / "list.txt").write_text("packed.tar\npacked.parquet\n")
    out = tmp_path / "out.jsonl"
    assert score("--list", tmp_path / "list.txt", "--out", out, "--image-column", "image") == 0
    assert len(rows(out)) == 12
    assert score(tmp_path / "packed.parquet", "--out", out, "--overwrite", "--image-column", "label") == 1
    assert "no column label of images" in str(rows(out)[0]["error"])
