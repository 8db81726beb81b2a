"""Whether a GPU's libraries work. Each is tried in a process of its own, as it may crash, print or hang."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.decoder import GpuDecoder
from declip_rt.backends.cuda.kernels import ViewKernels
from declip_rt.backends.onnxrt import session
from declip_rt.backends.trt.library import Said
from declip_rt.errors import Unavailable
from declip_rt.extras import load
from declip_rt.model.bundle import Bundle

SECONDS = 60.0  # that a probe may take


@dataclass(frozen=True)
class Answer:
    """found: what works, of JSON's types. error: why it does not, or None."""

    found: Any = None
    error: str | None = None


def ask(name: str, *arguments: str, seconds: float = SECONDS) -> Answer:
    """What the probe of this name gives; it is ended after so many seconds."""
    code = "from declip_rt.commands import probes; probes.main()"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, name, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        said, log = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()  # and not waited for: what hangs in the driver does not end
        return Answer(error=f"it gave no answer in {seconds:.0f} s")
    try:
        return Answer(**json.loads(said))
    except ValueError:
        last = (log.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        return Answer(error=f"it ended with {_status(process.returncode)}: {last}")


def main() -> None:
    """Runs the probe that the command line names, and prints its Answer."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    name, *arguments = sys.argv[1:]
    try:
        found = {"found": PROBES[name](*arguments)}
    except Exception as error:  # each library has its own
        cause = (isinstance(error, Unavailable) and error.__cause__) or error  # the extra to install is said elsewhere
        found = {"error": " ".join(str(cause).split()) or type(cause).__name__}
    print(json.dumps(found), file=answer, flush=True)
    os._exit(0)  # that a library ends well is not asked


def _status(code: int) -> str:
    return signal.Signals(-code).name if -code in list(signal.Signals) else f"exit code {code}"


def imports(module: str) -> None:
    """Imports one of EXTRAS."""
    load(module)


def driver() -> dict[str, object]:
    """The newest CUDA that the driver knows, as 13000; the names of the GPUs that it shows, or why it shows none."""
    cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    version, count, names = ctypes.c_int(), ctypes.c_int(), list[str]()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    status, said = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)), ctypes.c_char_p()
    cuda.cuGetErrorName(status, ctypes.byref(said))
    for index in range(count.value):
        name = ctypes.create_string_buffer(256)
        cuda.cuDeviceGetName(name, len(name), index)
        names.append(name.value.decode())
    return {"version": version.value, "names": names, "failure": (said.value or b"").decode()}


def kernels() -> str:
    """Loads our own CUDA kernels on the first GPU."""
    os.environ["CUDA_MODULE_LOADING"] = "EAGER"  # else each is loaded by its first launch
    with Context(0).current():
        ViewKernels()
    return "and load"


def nvjpeg(*devices: str) -> str:
    """Whether nvImageCodec finds nvJPEG, and decodes a JPEG on each of the devices."""
    load("nvidia.nvimgcodec")
    maps = Path("/proc/self/maps")
    if maps.exists() and "libnvjpeg.so" not in maps.read_text():
        raise RuntimeError("nvImageCodec finds no libnvjpeg, without which it decodes no JPEG on a GPU")
    for device in devices:
        GpuDecoder(Context(int(device)))
    return "loads" + ", and decodes a JPEG" * bool(devices)


def provider(*devices: str) -> str:
    """Whether ONNX Runtime's CUDA provider loads, and runs the embedded model on each of the devices."""
    session.load_cuda()
    if sys.platform == "linux":
        folder = Path(str(session.runtime_module().__file__)).parent / "capi"
        for name in ("shared", "cuda"):  # ONNX Runtime only logs what is missing
            ctypes.CDLL(str(folder / f"libonnxruntime_providers_{name}.so"), mode=ctypes.RTLD_GLOBAL)
    said, bundle = "loads", Bundle()
    for device in devices:
        opened = session.open_cuda_session(bundle.graph("fp32"), session.session_options("fp32"), int(device))
        session.run_first(opened, np.zeros((1, *bundle.views.shape), np.uint8))
        said += f", and runs {bundle.name} by {', '.join(opened.get_providers())}"
    return said


def cudnn() -> str:
    """The version of the cuDNN that ONNX Runtime would open."""
    session.load_cuda()
    library = ctypes.CDLL("cudnn64_9.dll" if sys.platform == "win32" else "libcudnn.so.9")
    library.cudnnGetVersion.restype = ctypes.c_size_t
    version = library.cudnnGetVersion()
    return f"{version // 10_000}.{version // 100 % 100}.{version % 100}"


def builder(module: str) -> str:
    """Whether a builder of TensorRT or TensorRT for RTX starts."""
    trt = load(module)
    Said(trt).started(trt.Builder, "it does not start")
    return "starts"


PROBES: dict[str, Callable[..., object]] = {
    each.__name__: each for each in (imports, driver, kernels, nvjpeg, provider, cudnn, builder)
}
