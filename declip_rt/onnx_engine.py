"""ONNX Runtime, on the CPU or through its CUDA provider."""

from __future__ import annotations

import platform
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from declip_rt.bundle import Bundle
from declip_rt.engine import Device, Outputs
from declip_rt.errors import EngineError
from declip_rt.stats import Stats, cores

MOST = 4  # batches that compute at once on a CPU
SPARE = 2  # lanes beside those that compute: one waits full, one is being filled
VNNI = ("avx512_vnni", "avx_vnni")  # in /proc/cpuinfo
OUTPUTS = ("scores", "perceptual", "semantic")
CUDA = "CUDAExecutionProvider"


class OnnxEngine:
    """Runs one of the bundle's graphs. The device auto is CUDA where ONNX Runtime and the machine have it, else CPU.

    On a CPU up to MOST batches compute at once and share the threads: with a thread for each, none waits for another.
    With a batch of 1, which is for latency, all threads work on one image.
    """

    def __init__(
        self, bundle: Bundle, device: Device, batch: int, precision: str, threads: int | None, stats: Stats
    ) -> None:
        runtime, threads = _import(), threads or cores()
        at_once = 1 if batch == 1 else min(threads, MOST)
        pool = threads - at_once + 1  # ONNX Runtime counts one caller among its threads
        self._session, self.device, self.precision = _open(runtime, bundle, device, precision, pool)
        self.batch, self._stats = batch, stats
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="declip-onnx")
        self.lanes = [OnnxLane(self, np.zeros((batch, *bundle.views.shape), np.uint8)) for _ in range(at_once + SPARE)]

    def start(self, pixels: NDArray[np.uint8]) -> Future[list[Any]]:
        return self._pool.submit(self._run, pixels)

    def _run(self, pixels: NDArray[np.uint8]) -> list[Any]:
        with self._stats.timed("compute"):
            outputs: list[Any] = self._session.run(OUTPUTS, {"pixels": pixels})
        return outputs

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class OnnxLane:
    """A batch buffer in plain memory."""

    def __init__(self, engine: OnnxEngine, buffer: NDArray[np.uint8]) -> None:
        self._engine, self._buffer = engine, buffer  # (batch, V, S, S, 3)
        self._running: Future[list[Any]] | None = None

    def slot(self, i: int) -> NDArray[np.uint8]:
        slot: NDArray[np.uint8] = self._buffer[i]
        return slot

    def launch(self, n: int) -> None:
        self._running = self._engine.start(self._buffer[:n])

    def result(self) -> Outputs:
        if self._running is None:
            raise EngineError("nothing was launched on this lane")
        running, self._running = self._running, None
        try:
            return Outputs(*running.result())
        except EngineError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise EngineError(f"ONNX Runtime failed: {error}") from error


def _import() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            'no inference engine is installed; for the CPU: pip install "declip-rt[cpu]", '
            'for an NVIDIA GPU: pip install "declip-rt[cuda]"'
        ) from error
    module: ModuleType = onnxruntime
    return module


def _open(runtime: ModuleType, bundle: Bundle, device: Device, precision: str, threads: int) -> tuple[Any, str, str]:
    """The session, the words for where it runs, and its precision."""
    with_cuda = CUDA in runtime.get_available_providers()
    if device.kind == "cuda" and not with_cuda:
        raise EngineError(
            f"onnxruntime {runtime.__version__} has no CUDA provider: "
            'pip uninstall onnxruntime, then pip install "declip-rt[cuda]"'
        )
    if device.kind == "cuda" and precision == "int8":
        raise EngineError("int8 graphs are for CPUs; choose --device cpu, or --precision auto")
    if with_cuda and precision != "int8" and device.kind in ("cuda", "auto"):
        session = _session(runtime, bundle.graph(), [(CUDA, {"device_id": device.index})], threads)
        if CUDA in session.get_providers():
            return session, f"cuda:{device.index} (ONNX Runtime {runtime.__version__})", "fp32"
        if device.kind == "cuda":
            raise EngineError(
                f"ONNX Runtime could not open cuda:{device.index}; check that nvidia-smi lists it, "
                "and that CUDA and cuDNN match onnxruntime-gpu"
            )
    why = "" if device.kind == "cpu" else f"; no usable CUDA {'device' if with_cuda else 'provider'}"
    if precision == "int8" and not multiplies_8_bits():
        raise EngineError(
            "this CPU has no VNNI, without which 8-bit products overflow: the model's proof does not hold here; "
            "choose --precision fp32, or auto"
        )
    precision = bundle.precision(precision if multiplies_8_bits() else "fp32")
    session = _session(runtime, bundle.graph(precision), ["CPUExecutionProvider"], threads)
    return session, f"cpu (ONNX Runtime {runtime.__version__}, {precision}{why})", precision


@cache
def multiplies_8_bits() -> bool:
    """Whether this CPU adds up 8-bit products in 32 bits, as INT8 graphs need. Older x86 ones do it in 16 bits."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return not flags.isdisjoint(VNNI)


def _session(runtime: ModuleType, graph: Path, providers: list[Any], threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the decoders want the cores
    options.log_severity_level = 3  # a provider that did not load is reported by us
    try:
        return runtime.InferenceSession(str(graph), options, providers=providers)
    except Exception as error:
        raise EngineError(f"ONNX Runtime {runtime.__version__} cannot load {graph}: {error}") from error
