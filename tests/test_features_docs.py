"""What docs/features.md tells people to run, runs, and finds what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "features.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
READ, READ_PARQUET, DUPLICATES, DRIFT = (text for kind, text in BLOCKS if kind == "python")


def run(folder: Path, *command: str, code: int = 0) -> str:
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands of the page have written, of which a photo fails, and new.npz, of darker ones."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(ROOT / "examples" / "photos", folder / "photos")
    (folder / "new").mkdir()
    for path in (folder / "photos").glob("*.jpg"):
        with Image.open(path) as image:
            ImageEnhance.Brightness(image.convert("RGB")).enhance(0.2).save(folder / "new" / path.name)
    (folder / "photos" / "broken.jpg").touch()
    commands = [line[2:] for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
    assert len(commands) == 2
    for command in commands:
        run(folder, *command.split(), code=1)
    run(folder, "declip-rt", "embed", "new", "--out", "new.npz")
    return folder


def python(code: str, folder: Path) -> str:
    return run(folder, sys.executable, "-W", "error", "-c", code)


def test_both_ways_to_read_give_the_same(place: Path) -> None:
    told = python(READ, place)
    assert told == python(READ_PARQUET, place)
    assert re.fullmatch(r"declip-tiny photos/astronaut-blur\.jpg \(13, \d+\)\n", told)


def test_near_duplicates_are_those_of_the_same_picture(place: Path) -> None:
    pairs = {tuple(re.findall(r"photos/(\S+)\.jpg", line)) for line in python(DUPLICATES, place).splitlines()}
    assert {("chelsea-blur", "chelsea"), ("coffee-jpeg", "coffee"), ("rocket-dark", "rocket")} <= pairs
    assert all(a.split("-")[0] == b.split("-")[0] for a, b in pairs)


def test_drift_is_more_than_chance_where_there_is_some(place: Path, tmp_path: Path) -> None:
    def figures(folder: Path) -> list[float]:
        return [float(figure) for figure in re.findall(r"\d\.\d{3}", python(DRIFT, folder))]

    moved, chance = figures(place)
    assert moved > chance
    shutil.copy(place / "photos.npz", tmp_path)
    shutil.copy(place / "photos.npz", tmp_path / "new.npz")
    assert figures(tmp_path) == [0, chance]


def test_its_columns_are_those_of_the_file(place: Path) -> None:
    told = {
        name for cells in re.findall(r"^\| (`.+?) \|", TEXT, re.MULTILINE) for name in re.findall(r"`(\w+)`", cells)
    }
    assert told == set(np.load(place / "photos.npz"))
