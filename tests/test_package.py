"""What is installed: the runtime alone, with its resampler where there is a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODEL = "model/embedded/declip-tiny"
NEEDED = (
    "py.typed",
    "native/_native.pyi",
    "output/page.html",
    "engines/fp8.toml",
    "engines/portable.toml",
    f"{MODEL}/bundle.json",
    f"{MODEL}/fp32.onnx",
)


def wheel_of(folder: Path, **environment: str) -> tuple[str, list[str]]:
    """Builds the wheel from a copy of the source, and returns its name and its files."""
    skip = shutil.ignore_patterns(".*", "build", "runs", "demo", "tests", "__pycache__")
    source = shutil.copytree(ROOT, folder / "source", ignore=skip)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | environment)
    (wheel,) = folder.glob("*.whl")
    return wheel.name, zipfile.ZipFile(wheel).namelist()


def printed(folder: Path, code: str) -> list[str]:
    """The words that a line of Python prints, which imports the wheel's own code, unpacked far from any checkout."""
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    # -S: the editable install of this checkout would come first
    path = os.pathsep.join([str(folder / "site"), *(each for each in sys.path if each and Path(each) != ROOT)])
    env = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-S", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder, env=env).stdout.split()


RECIPES = "from declip_rt.backends.trt.recipe import Recipe, shipped; print(*(n for n in shipped() if Recipe.find(n)))"
FATBIN = "from declip_rt import native; print(len(native.fatbin()))"


def test_a_wheel_holds_declip_rt_and_nothing_else(tmp_path: Path) -> None:
    name, files = wheel_of(tmp_path, SKBUILD_CMAKE_DEFINE="nvcc=OFF")
    assert not name.endswith("-py3-none-any.whl")
    assert {file.split("/")[0] for file in files} == {"declip_rt", "-".join(name.split("-")[:2]) + ".dist-info"}
    assert all(f"declip_rt/{needed}" in files for needed in NEEDED)
    assert printed(tmp_path, RECIPES) == ["fp16", "fp32", "fp8", "portable", "rtx"]
    assert printed(tmp_path, FATBIN) == ["0"], "built without nvcc"
    assert any(file.startswith("declip_rt/native/_native") for file in files)
    assert not any(file.endswith((".cmake", ".cpp", ".cu", ".h")) for file in files)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="NOT RUN, nvcc is not installed")
def test_where_nvcc_is_a_wheel_holds_the_kernels_for_every_gpu(tmp_path: Path) -> None:
    wheel_of(tmp_path)
    (size,) = printed(tmp_path, FATBIN)
    assert int(size) > 100_000, "a kernel for each of seven GPUs"


def test_without_a_compiler_it_is_the_same_without_the_resampler(tmp_path: Path) -> None:
    name, files = wheel_of(tmp_path, CC="/nowhere/cc", CXX="/nowhere/c++")
    assert name.endswith("-py3-none-any.whl")
    assert all(f"declip_rt/{needed}" in files for needed in NEEDED)
    assert "declip_rt/native/__init__.py" in files
    assert not any(file.endswith((".so", ".pyd")) for file in files)


def test_nothing_is_sent_anywhere(tmp_path: Path) -> None:
    code = "import os; from declip_rt import Scorer; Scorer(device='cpu'); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    clean = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    for given, told in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        home = {"HOME": str(tmp_path / told), "XDG_CACHE_HOME": str(tmp_path / told)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=clean | home | given, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == told
    assert not list(tmp_path.glob("1/**/*")), "ONNX Runtime keeps a device id and a database under HOME otherwise"
