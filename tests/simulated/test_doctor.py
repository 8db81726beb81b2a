"""`declip-rt doctor` on the simulated driver, with libraries that load, and with some that do not."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from declip_rt import native
from declip_rt.commands import doctor
from declip_rt.commands.doctor import ELF, NEW_ELF
from tests.simulated.conftest import Simulation

ONNX_RUNTIME = """
import ctypes, pathlib
from types import SimpleNamespace as SessionOptions, SimpleNamespace as RunOptions
__version__ = "1.2.3"
providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
get_available_providers = lambda: providers
GraphOptimizationLevel = SessionOptions(ORT_ENABLE_BASIC=1, ORT_ENABLE_ALL=99)
def preload_dlls():
    for path in pathlib.Path(__file__).parent.glob("pip/*"):
        ctypes.CDLL(path)
class InferenceSession:
    def __init__(self, graph, options, providers):
        self.provider, self.options = providers[0]
        assert self.provider == "CUDAExecutionProvider"
    def get_providers(self):
        return providers[{first}:]
    def run(self, outputs, inputs, options):
        assert inputs["pixels"].dtype == "uint8"
        return list(outputs)
"""
CODEC = """
import ctypes
{nvjpeg}
class Decoder:
    def __init__(self, *_, **__): ...
    def decode(self, sources, *, cuda_stream): return [{decoded} for _ in sources]
CodeStream = lambda data: data
Backend = lambda kind: kind
BackendKind = type("", (), {{kind: kind for kind in ("HW_GPU_ONLY", "GPU_ONLY", "HYBRID_CPU_GPU")}})
"""


def library(path: Path, code: str = "", needs: str = "") -> None:
    """A shared library. needs: one that it was linked with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["g++", "-shared", "-fPIC", "-xc++", "-", "-xnone", "-Wl,-soname," + path.name, "-o", str(path)]
    subprocess.run([*command, *needs.split()], input=code.encode(), check=True)


@pytest.fixture
def installed(gpu: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The packages that doctor finds. Stand-ins for them come before the real ones."""
    found = {"numpy", "pillow", "msgspec", "tqdm", "cuda-bindings"}

    def version(name: str) -> str:
        if name in found:
            return "13.1"
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}:{os.environ['LD_LIBRARY_PATH']}")
    return found


def said(about: str) -> str:
    """What comes of the line that begins so."""
    return next(line.removeprefix(f"{about}: ") for line in doctor.lines() if line.startswith(f"{about}: "))


def onnx_runtime(folder: Path, monkeypatch: pytest.MonkeyPatch, needs: str = "", first: int = 0) -> None:
    """first: of its providers that a session has."""
    library(folder / "onnxruntime/capi/libonnxruntime_providers_shared.so")
    library(folder / "onnxruntime/capi/libonnxruntime_providers_cuda.so", needs=needs)
    (folder / "onnxruntime/__init__.py").write_text(ONNX_RUNTIME.replace("{first}", str(first)))
    monkeypatch.setattr(doctor, "_providers", lambda: ["CUDAExecutionProvider"])


def codec(folder: Path, nvjpeg: str, decoded: object = "object()") -> None:
    module = folder / "nvidia/nvimgcodec/__init__.py"
    module.parent.mkdir(parents=True)
    (folder / "nvidia/__init__.py").touch()
    module.write_text(CODEC.format(nvjpeg=nvjpeg, decoded=decoded))


@pytest.mark.parametrize(
    ("cuda", "expected"),
    [
        ("13010", "up to CUDA 13.1, Simulated GPU, Simulated GPU; cuda-bindings 13.1 are for CUDA 13"),
        (
            "12040",
            "up to CUDA 12.4, Simulated GPU, Simulated GPU; cuda-bindings 13.1 are for CUDA 13: "
            'install a driver from 580 on, or "cuda-bindings<13"',
        ),
    ],
)
def test_the_drivers_cuda_beside_that_of_the_bindings(
    cuda: str, expected: str, installed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATED_CUDA", cuda)
    assert said("CUDA driver") == expected


def test_without_a_gpu_it_says_what_was_not_tried(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    installed.add("tensorrt")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert said("CUDA driver").startswith("up to CUDA 13.0, no GPU that CUDA sees (CUDA_ERROR_NO_DEVICE)")
    lines = list(doctor.lines())
    assert any(line.startswith("without a GPU nothing was run on one") for line in lines)
    assert not any(line.startswith("builder") for line in lines)
    monkeypatch.setattr(doctor.devices, "list_devices", lambda: [doctor.devices.Gpu(0, "H100", "9.0", "580")])
    assert "MIG mode" in said("CUDA driver")
    monkeypatch.setenv("LD_LIBRARY_PATH", "")
    assert said("CUDA driver").startswith("does not work: libcuda.so.1: cannot open")


def test_a_mig_instance_and_eager_loading_are_said(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMULATED_NAME", "NVIDIA H100 80GB HBM3 MIG 1g.10gb")
    monkeypatch.setenv("CUDA_MODULE_LOADING", "EAGER")
    lines = "\n".join(doctor.lines())
    assert "MIG: cuda:0 is a part of a GPU, NVIDIA H100 80GB HBM3 MIG 1g.10gb" in lines
    assert "CUDA_MODULE_LOADING=EAGER" in lines
    monkeypatch.delenv("SIMULATED_NAME")
    monkeypatch.setenv("CUDA_MODULE_LOADING", "LAZY")
    lines = "\n".join(doctor.lines())
    assert "MIG" not in lines
    assert "CUDA_MODULE_LOADING" not in lines


@pytest.mark.parametrize(
    ("version", "cuda", "expected"),
    [
        (NEW_ELF, "12040", "built by nvcc 13, for drivers from 580 on; install declip-rt again with nvcc 12"),
        (NEW_ELF - 1, "12040", "built, does not work: CUDA_ERROR_INVALID_IMAGE"),
        (NEW_ELF, "13000", "built, and load"),
    ],
)
def test_kernels_of_a_newer_nvcc_are_said(
    version: int, cuda: str, expected: str, installed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATED_CUDA", cuda)
    monkeypatch.setattr(doctor.native, "fatbin", lambda: b"PTX" + ELF + bytes([2, 1, 1, 0x41, version]))
    assert said("CUDA kernels").startswith(expected)


def test_nvcc_13_writes_that_version() -> None:
    fatbin = native.fatbin()
    if not fatbin:
        pytest.skip("NOT RUN: built without nvcc")
    done = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=False)
    assert (fatbin[fatbin.find(ELF) + 8] >= NEW_ELF) == ("release 12" not in done.stdout)


@pytest.mark.parametrize(
    ("nvjpeg", "decoded", "visible", "expected"),
    [
        ("ctypes.CDLL('libnvjpeg.so.13')", "object()", "0", "loads, and decodes a JPEG"),
        ("ctypes.CDLL('libnvjpeg.so.13')", "object()", "", "loads"),
        ("ctypes.CDLL('libnvjpeg.so.13')", None, "0", "does not work: nvImageCodec decodes no JPEG on this GPU"),
        ("", "object()", "0", "does not work: nvImageCodec finds no libnvjpeg"),
    ],
)
def test_whether_jpegs_are_decoded(
    nvjpeg: str,
    decoded: object,
    visible: str,
    expected: str,
    installed: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed.add("nvidia-nvimgcodec-cu13")
    library(tmp_path / "libnvjpeg.so.13")
    codec(tmp_path, nvjpeg, decoded)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert said("nvJPEG").startswith(expected)
    assert expected != "loads" or said("nvJPEG") == expected


def test_onnx_runtimes_provider_runs_a_model(
    installed: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path / "onnxruntime/pip/libcudnn.so.9", 'extern "C" long cudnnGetVersion() { return 92400; }')
    onnx_runtime(tmp_path, monkeypatch)
    runs = "loads, and runs declip-tiny by CUDAExecutionProvider, CPUExecutionProvider"
    assert said("CUDA provider of ONNX Runtime") == runs
    assert said("cuDNN") == "9.24.0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert said("CUDA provider of ONNX Runtime") == "loads"


def test_a_provider_that_does_not_load_or_leaves_the_model_to_the_cpu(
    installed: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path / "libgone.so.13")
    onnx_runtime(tmp_path, monkeypatch, needs=f"-Wl,--no-as-needed -L{tmp_path} -l:libgone.so.13")
    (tmp_path / "libgone.so.13").unlink()
    (tmp_path / "libcudnn.so.9").write_text("no library")
    missing = "does not work: libgone.so.13: cannot open shared object file: No such file or directory"
    assert said("CUDA provider of ONNX Runtime") == missing
    assert said("cuDNN").startswith(f"does not work: {tmp_path}/libcudnn.so.9: ")
    onnx_runtime(tmp_path, monkeypatch, first=1)
    assert said("CUDA provider of ONNX Runtime").startswith("does not work: ONNX Runtime could not open cuda:0")


def test_whether_tensorrts_builder_starts(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    installed.add("tensorrt")
    assert said("builder of tensorrt") == "starts"
    monkeypatch.setenv("SIMULATED_FAULTS", "start")
    assert said("builder of tensorrt").startswith(
        "does not work: it does not start: CUDA initialization failure with error: 35"
    )
