"""The example of frames scores a photo alike by every library that is installed; without a GPU it says so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from declip_rt.backends.cuda import devices

EXAMPLE = Path(__file__).parents[2] / "examples" / "gpu_frames.py"


def run() -> subprocess.CompletedProcess[str]:
    simulated = ("LD_LIBRARY_PATH", "PYTHONPATH") if not devices.list_devices() else ()
    env = {name: value for name, value in os.environ.items() if name not in simulated}
    return subprocess.run([sys.executable, EXAMPLE], env=env, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.skipif(bool(devices.list_devices()), reason="NOT RUN: there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (1, "")
    assert re.match(r"no frames are scored: .*(CUDA|declip-rt\[)", done.stdout)


@pytest.mark.skipif(not devices.list_devices(), reason="NOT RUN, NVML lists no GPU")
def test_every_library_gives_the_same_score() -> None:
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    scores = [float(score) for score in re.findall(r"^(0\.\d{4})  ", done.stdout, re.MULTILINE)]
    assert len(scores) > 1, "torch, CuPy, numba or pycuda is installed"
    assert max(scores) - min(scores) < 0.02  # of a file, the decoder's rounding
