"""The steps that a GPU machine without a network is given run on the simulated one, or say what they lack."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu_calls.one_architecture import empty_others
from declip_rt import Bundle, native
from tests.simulated.conftest import Simulation

CALLS = Path(__file__).parents[2] / "benchmarks" / "gpu_calls"
PAGE = CALLS.with_suffix(".md").read_text()


def test_every_step_runs_or_says_what_it_lacks(gpu: Simulation, bundle: Bundle, tmp_path: Path) -> None:
    quick = {"PYTEST_ADDOPTS": "-k cpu_says", "MINUTES": "0", "SIZE": "64x48", "COPIES": "0"}
    where = {"PYTHON": sys.executable, "DEVICE": "tensorrt", "BUNDLE": str(bundle.path)}
    folders = {"KEEP": str(tmp_path / "keep"), "OUT": str(tmp_path / "out"), "DECLIP_RT_CACHE": str(tmp_path)}
    expected = {
        "facts": "passed",
        "install": "not run",
        "tests": "passed",
        "views": "passed",
        "sanitize": "passed" if shutil.which("compute-sanitizer") else "not run",
        "profile": "passed" if shutil.which("ncu") else "not run",
        "ort": "not run",
        "decode": "not run",
        "check": "passed",
    }
    command = ["bash", str(CALLS / "run.sh"), *(f"{step}=120" for step in expected)]
    done = subprocess.run(
        command, env=os.environ | quick | where | folders, capture_output=True, text=True, check=False
    )
    found = dict(line.split("\t")[:2] for line in (tmp_path / "out/steps.tsv").read_text().splitlines())
    logs = {step: (tmp_path / f"out/{step}.log").read_text() for step in expected}
    assert found == expected, "\n".join(logs[step] for step in expected if found.get(step) != expected[step])
    assert done.returncode == 0
    parity = ["bash", str(CALLS / "run.sh"), "parity=120"]
    subprocess.run(parity, env=os.environ | where | folders | {"PYTEST_ADDOPTS": "--collect-only"}, check=True)
    assert "Simulated GPU" in logs["facts"]
    assert "64x48" in logs["views"]
    assert "no source.tar.xz came" in logs["install"]
    assert "64x48, decoded on the cpu" in logs["decode"]
    assert "there is no nvImageCodec" in logs["decode"]
    assert (tmp_path / "out/gpu-simulated-gpu.json").exists()


@pytest.mark.parametrize(
    ("step", "state"), [("nonsense=20", "failed"), ("decode=0.01", "out of time")], ids=["failed", "out of time"]
)
def test_a_step_that_does_not_come_to_its_end_fails_the_call(step: str, state: str, tmp_path: Path) -> None:
    env = os.environ | {"PYTHON": sys.executable, "KEEP": str(tmp_path), "OUT": str(tmp_path)}
    done = subprocess.run(["bash", CALLS / "run.sh", step], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split("\t")[1]) == (1, state)


def test_the_page_names_the_steps_that_there_are(tmp_path: Path) -> None:
    """Each command of the page is short enough, and its steps are functions of the script."""
    script = (CALLS / "run.sh").read_text()
    commands = [line for line in PAGE.splitlines() if "run.sh" in line and "=" in line and not line.startswith("|")]
    steps = [word.split("=")[0] for line in commands for word in line.split("run.sh", 1)[1].split()]
    assert len(commands) >= 3
    assert all(len(line) <= 2000 for line in commands)
    assert all(f"\n{step}() {{" in script for step in steps), steps
    assert {"facts", "install", "tests", "check"} <= set(steps)


@pytest.mark.parametrize("script", ["run.sh", "pack.sh"])
def test_a_script_is_of_bash(script: str) -> None:
    assert subprocess.run(["bash", "-n", CALLS / script], check=False).returncode == 0


def test_the_code_for_one_architecture_is_left() -> None:
    data = bytearray(native.fatbin())
    if not data:
        pytest.skip("NOT RUN: built without nvcc")
    sizes = empty_others(data, 90)
    assert sizes[90] > 10_000
    assert sizes[-80] > 10_000
    assert sizes[-90] == 0
    assert len(data) == len(native.fatbin())
    assert data.count(b"\x7fELF") == 1
