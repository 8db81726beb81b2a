"""A lane on a GPU. It has its own memory, pinned and on the GPU, and stream, so that lanes copy and compute at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends.contract import Outputs
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.frames import Frames
from declip_rt.backends.cuda.results import Results
from declip_rt.errors import EngineError
from declip_rt.model.manifest import ViewSpec
from declip_rt.stats import Stats

LANE_STAGES = ("copy in", "compute", "copy out")  # stages of Stats, between a lane's four events
SPIN = 2e-4  # seconds


@dataclass(frozen=True)
class Buffers:
    """Where a network reads and writes: addresses on the GPU, and the stream to compute on."""

    buckets: Sequence[int]  # the batch sizes to compute, ascending; N is the last
    pixels: int  # uint8 (N, V, S, S, 3)
    outputs: Mapping[int, Mapping[str, int]]  # bucket -> name -> float32 (bucket, width)
    stream: Any
    context: Context


class Program(Protocol):
    """A network bound to one lane's buffers."""

    def enqueue(self, bucket: int, stream: int) -> None:
        """Queues the computation of the first `bucket` images. stream: the handle of the buffers' stream."""

    def can_be_captured(self, bucket: int, stream: int) -> bool:
        """Whether a CUDA graph can hold what `enqueue` queues."""

    def close(self) -> None:
        """Frees what it holds on the GPU."""


class Network(Protocol):
    """A graph that is loaded on a GPU."""

    @property
    def buckets(self) -> Sequence[int]:
        """The batch sizes that it computes, ascending."""

    @property
    def widths(self) -> Mapping[str, int]:
        """The widths of its outputs `scores`, `perceptual` and `semantic`."""

    def bind(self, buffers: Buffers) -> Program: ...


class _Graphs(NamedTuple):
    """A bucket's CUDA graphs: of the network, and of the network between both copies."""

    network: Any
    whole: Any


class GpuLane:
    """One batch in flight.

    A batch is padded to the smallest of the network's buckets that holds it. The lane runs each bucket once, and
    captures it as a CUDA graph where the network allows it. A batch then starts with a copy and one launch; one that
    fills its bucket from the host with a launch alone, as its graph has both copies.

    batch: the number of slots, at most the network's largest bucket.
    """

    def __init__(self, context: Context, network: Network, views: ViewSpec, batch: int, stats: Stats) -> None:
        self._context, self._stats = context, stats
        self._buckets = [bucket for bucket in network.buckets if bucket < batch]
        self._buckets.append(next(bucket for bucket in network.buckets if bucket >= batch))
        self._stream = context.stream()
        self._slots, self._pinned = context.pinned((batch, *views.shape))
        self._row = self._slots[0].nbytes
        self._pixels = context.memory(self._buckets[-1] * self._row, self._stream)
        self._results = Results(context, network.widths, self._buckets, self._stream)
        self._frames = Frames(context, views, self._stream, batch, int(self._pixels.handle))
        self._events = [context.event() for _ in range(len(LANE_STAGES) + 1)]
        self._timed: list[tuple[str, Any, Any]] = []  # the stages of the batch, each between two events
        self._launched, self._closed = 0, False
        with context.guarded("cannot prepare a lane"):
            self._pixels.fill(0, stream=self._stream)
            outputs = {bucket: self._results.addresses(bucket) for bucket in self._buckets}
            self._program = network.bind(
                Buffers(self._buckets, int(self._pixels.handle), outputs, self._stream, context)
            )
            self._graphs = {bucket: self._capture(bucket) for bucket in self._buckets}

    def slot(self, i: int) -> NDArray[np.uint8]:
        self._check()
        self._frames.drop(i)  # a run that ended early may have left one
        slot: NDArray[np.uint8] = self._slots[i]
        return slot

    def put(self, i: int, frame: object) -> tuple[int, int]:
        self._check()
        with self._context.guarded("cannot read a frame"):
            return self._frames.put(i, frame)

    def launch(self, n: int) -> None:
        self._check()
        bucket = self._bucket(n)
        whole = self._graphs[bucket].whole if n == bucket and not len(self._frames) else None
        with self._context.guarded("cannot start a batch"):
            self._stream.record(self._events[0])
            if whole is not None:
                whole.launch(self._stream)
                self._stream.record(self._events[-1])
                self._timed = [("compute", self._events[0], self._events[-1])]
            else:
                for step, event in zip(self._steps(bucket, n, self._compute), self._events[1:], strict=True):
                    step()
                    self._stream.record(event)
                self._timed = list(zip(LANE_STAGES, self._events, self._events[1:], strict=False))
        self._launched = n

    def result(self) -> Outputs:
        self._check()
        if not self._launched:
            raise EngineError("nothing was launched on this lane")
        n, self._launched = self._launched, 0
        with self._context.guarded("a batch failed"):
            self._wait(SPIN if n == 1 else 0)
            for stage, before, after in self._timed:
                self._stats.add(stage, (after - before) / 1e3)
            self._frames.clear()
        return self._results.read(self._bucket(n), n)

    def close(self) -> None:
        """Waits for the launched batch and frees the lane's memory."""
        self._closed = True
        held = (*chain.from_iterable(self._graphs.values()), self._program, self._frames)
        held += self._pixels, self._pinned, self._results
        self._try(self._stream.sync)
        for each in held:
            if each is not None:
                self._try(each.close)
        self._try(self._stream.sync)  # only what is freed by then goes back to the device

    def _try(self, free: Callable[[], object]) -> None:
        with suppress(EngineError), self._context.guarded("cannot free a lane"):  # a lost device has freed it
            free()

    def _check(self) -> None:
        if self._closed:
            raise EngineError("this engine is closed; open another")

    def _bucket(self, n: int) -> int:
        return next(bucket for bucket in self._buckets if bucket >= n)

    def _wait(self, spin: float) -> None:
        """Waits for the batch, without sleeping for `spin` seconds: to wake up may take as long as a batch of 1."""
        done, until = self._events[-1], time.perf_counter() + spin
        while time.perf_counter() < until and not done.is_done:
            pass
        done.sync()

    def _steps(self, bucket: int, n: int, compute: Callable[[int], None]) -> tuple[Callable[[], None], ...]:
        """What queues a batch, for each of LANE_STAGES."""
        return partial(self._copy_in, n), partial(compute, bucket), partial(self._results.copy_out, bucket)

    def _copy_in(self, n: int) -> None:
        for first, last in _runs(i for i in range(n) if i not in self._frames):
            offset, size = first * self._row, (last - first) * self._row
            source, target = (self._context.part(buffer, offset, size) for buffer in (self._pinned, self._pixels))
            source.copy_to(target, stream=self._stream)
        self._frames.write(int(self._pixels.handle), n)

    def _compute(self, bucket: int) -> None:
        graph = self._graphs[bucket].network
        if graph is None:
            self._enqueue(bucket)
        else:
            graph.launch(self._stream)

    def _enqueue(self, bucket: int) -> None:
        self._program.enqueue(bucket, int(self._stream.handle))

    def _capture(self, bucket: int) -> _Graphs:
        """The bucket's CUDA graphs, where it can have any. Libraries set themselves up in a first run."""
        self._enqueue(bucket)
        self._stream.sync()
        if not self._program.can_be_captured(bucket, int(self._stream.handle)):
            return _Graphs(None, None)
        network, fills = self._recorded([partial(self._enqueue, bucket)]), bucket <= len(self._slots)
        return _Graphs(network, self._recorded(self._steps(bucket, bucket, self._enqueue)) if fills else None)

    def _recorded(self, steps: Iterable[Callable[[], None]]) -> Any:
        """A CUDA graph of what the steps queue."""
        capture = self._stream.create_graph_builder().begin_building()
        for step in steps:
            step()
        graph = capture.end_building().complete()
        capture.close()
        return graph


def _runs(numbers: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as ranges [first, last)."""
    first = last = -1
    for number in numbers:
        if number != last:
            if first < last:
                yield first, last
            first = number
        last = number + 1
    if first < last:
        yield first, last
