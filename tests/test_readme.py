"""What README tells people to run, runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from declip_rt import Bundle

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the example photos at their place, and with rated ones."""
    shutil.copytree(ROOT / "examples" / "photos", tmp_path / "examples" / "photos")
    shutil.copytree(ROOT / "examples" / "photos", tmp_path / "my-photos" / "images")
    ratings = [f"{path.name},{2 if '-' in path.name else 4}" for path in (tmp_path / "my-photos").rglob("*.jpg")]
    (tmp_path / "my-photos" / "scores.csv").write_text("\n".join(["image,mos", *ratings]))
    return tmp_path


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks(code: str, clone: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_have_the_right_types(code: str, tmp_path: Path) -> None:
    """A user who checks types sees the same."""
    pytest.importorskip("mypy", reason="NOT RUN, mypy is not installed")
    (tmp_path / "block.py").write_text(code)
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", tmp_path / "block.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


COMMANDS = [line[2:] for block in blocks("console") for line in block.splitlines() if "declip-rt" in line]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines(command: str, clone: Path) -> None:
    if "declip-rt build" in command:
        pytest.importorskip("tensorrt_rtx", reason="NOT RUN, TensorRT for RTX is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "DECLIP_RT_CACHE": str(clone / "plans")}
    done = subprocess.run(command, shell=True, cwd=clone, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr


def test_make_targets_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    told = {name for block in blocks("console") for name in re.findall(r"^\$ .*?make (\w+)", block, re.MULTILINE)}
    assert {"demo", "test"} <= told <= set(targets)


def test_pictures_and_links_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text()):
        assert target.startswith("https://arxiv.org/") or (ROOT / target).exists(), target


def test_its_figures_are_those_of_the_card(bundle: Bundle) -> None:
    text = (ROOT / "README.md").read_text()
    card = bundle.manifest.card
    assert f"measured {card.date} on {card.machine}" in text
    told = re.search(r"\| measured .*? \| value \| photos \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", text)
    assert told
    known = {f"| {figure.what} | {figure} | {figure.n} |" for figure in card.figures}
    rows = told[1].splitlines()
    assert {*rows} <= known
    assert sum("SRCC, LIVE" in row or "SRCC, OASIS" in row for row in rows) == 2, "the headline figures"
