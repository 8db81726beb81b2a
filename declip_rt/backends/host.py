"""Engines whose lanes are plain memory: a pool of threads computes the batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends.contract import EngineInfo, EngineOptions, Floats, Outputs
from declip_rt.errors import EngineError, ImageError
from declip_rt.model.bundle import Bundle
from declip_rt.stats import Stats, cores

Compute: TypeAlias = Callable[[NDArray[np.uint8]], list[Floats]]  # pixels (n, V, S, S, 3) -> OUTPUTS of a graph
CONCURRENT_BATCHES = 4  # the most batches that compute at once
SPARE_LANES = 2  # lanes beside those that compute: one waits full, one is being filled
ROUNDING = 1e-3  # by which a score may leave its range


def share(options: EngineOptions) -> tuple[int, int]:
    """How many batches compute at once, and how many threads they share.

    Each batch has a thread at least, so that none waits for another. A batch of 1 is for latency: all threads work on
    one image.
    """
    threads = options.threads or cores()
    return (1 if options.host_batch == 1 else min(threads, CONCURRENT_BATCHES)), threads


class HostEngine:
    """Computes batches by calls of `compute`, `at_once` of them at the same time.

    info: what it is, but for its lanes. library: what fails where `compute` does.
    """

    def __init__(
        self, compute: Compute, bundle: Bundle, info: EngineInfo, at_once: int, stats: Stats, library: str
    ) -> None:
        widths = (len(bundle.heads), *2 * (bundle.manifest.features,))
        self._work = _Work(compute, at_once, stats, widths)
        buffers = [np.zeros((info.batch, *bundle.views.shape), np.uint8) for _ in range(info.lanes)]
        self._lanes = [HostLane(self._work, buffer, library) for buffer in buffers]
        self.info = info

    @property
    def lanes(self) -> Sequence[HostLane]:
        return self._lanes

    @property
    def is_closed(self) -> bool:
        return self._work.compute is None

    def close(self) -> None:
        self._lanes = []
        self._work.end()


class _Work:
    """The threads that compute. It refers to no lane, so that no cycle keeps what computes alive.

    widths: of what the bundle says that the graph gives.
    """

    def __init__(self, compute: Compute, at_once: int, stats: Stats, widths: tuple[int, ...]) -> None:
        self.compute: Compute | None = compute
        self._stats, self._widths = stats, widths
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="declip-compute")

    def start(self, pixels: NDArray[np.uint8]) -> Future[list[Floats]]:
        return self._pool.submit(self._run, self.check(), pixels)

    def check(self) -> Compute:
        if self.compute is None:
            raise EngineError("this engine is closed; open another")
        return self.compute

    def end(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self.compute = None

    def _run(self, compute: Compute, pixels: NDArray[np.uint8]) -> list[Floats]:
        with self._stats.timed("compute"):
            found = compute(pixels)
            if [each.shape for each in found] != [(len(pixels), width) for width in self._widths]:
                raise EngineError(
                    f"the graph gives {', '.join(str(each.shape) for each in found)}, and its bundle.json says that "
                    f"they have {self._widths} columns; export the bundle again"
                )
            if not (found[0].min() >= -ROUNDING and found[0].max() <= 1 + ROUNDING) and np.isfinite(found[0]).all():
                raise EngineError("the graph gives scores outside of 0 to 1, as no model of DeCLIP does")
            # Copies: the library's own memory is its, and a forked child cannot free it.
            return [np.array(each) for each in found]


class HostLane:
    """A batch buffer in plain memory."""

    def __init__(self, work: _Work, buffer: NDArray[np.uint8], library: str) -> None:
        self._work, self._buffer, self._library = work, buffer, library  # (batch, V, S, S, 3)
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
        except Exception as error:  # the libraries' exceptions share no base class
            raise EngineError(f"{self._library} failed: {error}") from error
