"""ONNX Runtime on the CPU: the default engine, and the reference for all others."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends.contract import EngineInfo, EngineOptions, Floats, Outputs
from declip_rt.backends.onnxrt.session import check_names, open_session, run_first, runtime_module, session_options
from declip_rt.errors import EngineError, ImageError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import INPUT, OUTPUTS
from declip_rt.stats import Stats, cores

CONCURRENT_BATCHES = 4  # the most batches that compute at once
SPARE_LANES = 2  # lanes beside those that compute: one waits full, one is being filled
ROUNDING = 1e-3  # by which a score may leave its range
VNNI = ("avx512_vnni", "avx_vnni")  # its flags in /proc/cpuinfo


class OnnxEngine:
    """Runs one of the bundle's graphs.

    Up to CONCURRENT_BATCHES batches compute at once and share the threads. Each has a thread at least, so that
    none waits for another. A batch of 1 is for latency: all threads work on one image.

    fallback: why the CPU computes where a GPU was asked for.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions, stats: Stats, fallback: str | None = None) -> None:
        threads, precision = options.threads or cores(), choose_precision(bundle, options.precision)
        at_once = 1 if options.batch == 1 else min(threads, CONCURRENT_BATCHES)
        settings = session_options(precision, threads - at_once + 1)  # ONNX Runtime counts one caller among its threads
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the decoders want the cores
        session = open_session(bundle.graph(precision), settings)
        check_names(session, bundle.graph(precision))
        self._work = _Work(session, at_once, stats, (len(bundle.heads), *2 * (bundle.manifest.features,)))
        buffers = [np.zeros((options.batch, *bundle.views.shape), np.uint8) for _ in range(at_once + SPARE_LANES)]
        self._lanes = [OnnxLane(self._work, buffer) for buffer in buffers]
        name = f"ONNX Runtime {runtime_module().__version__}"
        self.info = EngineInfo("cpu", None, name, precision, options.batch, len(buffers), fallback)

    @property
    def lanes(self) -> Sequence[OnnxLane]:
        return self._lanes

    @property
    def is_closed(self) -> bool:
        return self._work.session is None

    def close(self) -> None:
        self._lanes = []
        self._work.end()


class _Work:
    """A session and the threads that call it. It refers to no lane, so that no cycle keeps it alive.

    widths: of what the bundle says that the graph gives.
    """

    def __init__(self, session: Any, at_once: int, stats: Stats, widths: tuple[int, ...]) -> None:
        self.session, self._stats, self._widths = session, stats, widths
        self._proven = False  # that a run ends
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="declip-onnx")

    def start(self, pixels: NDArray[np.uint8]) -> Future[list[Floats]]:
        self.check()
        return self._pool.submit(self._run, self.session, pixels)

    def check(self) -> None:
        if self.session is None:
            raise EngineError("this engine is closed; open another")

    def end(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self.session = None

    def _run(self, session: Any, pixels: NDArray[np.uint8]) -> list[Floats]:
        with self._stats.timed("compute"):
            found = session.run(OUTPUTS, {INPUT: pixels}) if self._proven else run_first(session, pixels)
            self._proven = True
            if [each.shape for each in found] != [(len(pixels), width) for width in self._widths]:
                raise EngineError(
                    f"the graph gives {', '.join(str(each.shape) for each in found)}, and its bundle.json says that "
                    f"they have {self._widths} columns; export the bundle again"
                )
            if not (found[0].min() >= -ROUNDING and found[0].max() <= 1 + ROUNDING) and np.isfinite(found[0]).all():
                raise EngineError("the graph gives scores outside of 0 to 1, as no model of DeCLIP does")
            # Copies: the session frees ONNX Runtime's own memory, and a forked child cannot.
            return [np.array(each) for each in found]


class OnnxLane:
    """A batch buffer in plain memory."""

    def __init__(self, work: _Work, buffer: NDArray[np.uint8]) -> None:
        self._work, self._buffer = work, buffer  # (batch, V, S, S, 3)
        self._running: Future[list[Floats]] | None = None

    def slot(self, i: int) -> NDArray[np.uint8]:
        self._work.check()
        slot: NDArray[np.uint8] = self._buffer[i]
        return slot

    def put(self, i: int, frame: object) -> tuple[int, int]:
        self._work.check()
        raise ImageError(
            'the frame is on a GPU: score with `device="tensorrt"` or `device="cuda"`, or copy it to the host first'
        )

    def launch(self, n: int) -> None:
        self._running = self._work.start(self._buffer[:n])

    def result(self) -> Outputs:
        self._work.check()
        if self._running is None:
            raise EngineError("nothing was launched on this lane")
        running, self._running = self._running, None
        try:
            return Outputs(*running.result())
        except EngineError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise EngineError(f"ONNX Runtime failed: {error}") from error


def choose_precision(bundle: Bundle, wanted: str) -> str:
    """The precision of the graph to run on this CPU.

    `auto` is int8 where this CPU can compute it and the bundle proves that it scores as fp32 does, else fp32.

    Raises EngineError where this CPU cannot compute what is wanted.
    """
    if wanted == "fp16":
        raise EngineError(
            'fp16 graphs are for GPUs; choose `device="tensorrt"` or `device="cuda"`, or leave `precision` out'
        )
    if wanted == "int8" and not multiplies_8_bits():
        raise EngineError(
            "this CPU has no VNNI, without which 8-bit products overflow: the model's proof does not hold here; "
            'choose `precision="fp32"`, or leave it out'
        )
    if wanted != "auto":
        return wanted
    return "int8" if multiplies_8_bits() and bundle.proves("int8") else "fp32"


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
