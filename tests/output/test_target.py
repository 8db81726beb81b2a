"""Where outputs may go, and who may write them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from declip_rt import ConfigError
from declip_rt.output import target


def test_a_file_is_placed_where_its_links_lead(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "rows.csv")
    assert target.place("--out", tmp_path / "link.csv", target.ROWS) == tmp_path / "real" / "rows.csv"
    assert target.place("--out", tmp_path / "NEW.CSV", target.ROWS) == tmp_path / "NEW.CSV"


def odd(folder: Path, what: str) -> Path:
    path = folder / f"{what}.csv"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/null")
    elif what == "circle":
        path.symlink_to(path)
    elif what == "homeless":
        path = folder / "no" / "such.csv"
    return path


@pytest.mark.parametrize("what", ["folder", "pipe", "device", "circle", "homeless"])
def test_what_is_no_file_is_refused_and_stays(tmp_path: Path, what: str) -> None:
    path = odd(tmp_path, what)
    before = path.lstat() if what != "homeless" else None
    with pytest.raises(ConfigError, match=r"is no file|cannot write"):
        target.place("--out", path, target.ROWS)
    assert before is None or os.path.samestat(before, path.lstat())


@pytest.mark.parametrize("name", ["photo.jpg", "rows", "rows.csv.gz", ".csv"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"the suffix must be \.csv, \.jsonl or \.parquet"):
        target.place("--out", tmp_path / name, target.ROWS)


def test_options_name_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "a.csv")
    (tmp_path / "soft.csv").symlink_to("a.csv")
    target.check_distinct({"--list": None, "--out": tmp_path / "a.csv", "--html": tmp_path / "b.html"})
    for same in ("a.csv", "hard.csv", "soft.csv", "./nowhere/../a.csv"):
        with pytest.raises(ConfigError, match="--list and --out name one file"):
            target.check_distinct({"--list": tmp_path / same, "--out": tmp_path / "a.csv"})


def test_no_image_is_an_output(tmp_path: Path) -> None:
    images = [str(tmp_path / name) for name in ("a.jpg", "b.csv", "c.html")]
    assert list(target.spare(images, [tmp_path / "rows.csv", tmp_path / "page.html"])) == images
    with pytest.raises(ConfigError, match=r"c\.html is an image to score and an output"):
        list(target.spare(images, [tmp_path / "c.html"]))


HOLD = """
import sys
from pathlib import Path
from declip_rt.output.target import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_writes_a_file_and_a_killed_one_hinders_nobody(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"is being written by process {other.pid} on "), target.locked(path):
            pass
        other.kill()
    with target.locked(path):
        assert f"process {os.getpid()}" in (tmp_path / "rows.csv.lock").read_text()
    assert not list(tmp_path.iterdir())
