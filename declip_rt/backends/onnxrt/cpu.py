"""ONNX Runtime on the CPU: the default engine, and the reference for all others."""

from __future__ import annotations

import platform
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends.contract import Outputs
from declip_rt.backends.onnxrt.session import open_session, runtime_module
from declip_rt.errors import EngineError, ImageError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import OUTPUTS
from declip_rt.stats import Stats, cores

MOST = 4  # batches that compute at once on a CPU
SPARE = 2  # lanes beside those that compute: one waits full, one is being filled
VNNI = ("avx512_vnni", "avx_vnni")  # in /proc/cpuinfo


class OnnxEngine:
    """Runs one of the bundle's graphs.

    Up to MOST batches compute at once and share the threads: with a thread for each, none waits for another.
    With a batch of 1, which is for latency, all threads work on one image.
    """

    def __init__(self, bundle: Bundle, batch: int, precision: str, threads: int | None, stats: Stats) -> None:
        runtime, threads = runtime_module(), threads or cores()
        self.precision = _precision(bundle, precision)
        at_once = 1 if batch == 1 else min(threads, MOST)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads - at_once + 1  # ONNX Runtime counts one caller among its threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the decoders want the cores
        self._session = open_session(runtime, bundle.graph(self.precision), options, ["CPUExecutionProvider"])
        self.device = f"cpu (ONNX Runtime {runtime.__version__}, {self.precision})"
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

    def put(self, i: int, frame: object) -> tuple[int, int]:
        raise ImageError("the frame is on a GPU: score with --device tensorrt or cuda, or copy it to the host first")

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


def _precision(bundle: Bundle, wanted: str) -> str:
    if wanted == "fp16":
        raise EngineError("fp16 graphs are for GPUs; choose --device tensorrt or cuda, or --precision auto")
    if wanted == "int8" and not multiplies_8_bits():
        raise EngineError(
            "this CPU has no VNNI, without which 8-bit products overflow: the model's proof does not hold here; "
            "choose --precision fp32, or auto"
        )
    return bundle.precision(wanted if multiplies_8_bits() else "fp32")


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
