"""A lane on a GPU. It has its own memory, pinned and on the GPU, and stream, so that lanes copy and compute at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends.contract import Outputs
from declip_rt.backends.cuda.context import ALIGNMENT, Context
from declip_rt.backends.cuda.frames import Frames
from declip_rt.errors import EngineError
from declip_rt.model.manifest import ViewSpec
from declip_rt.stats import Stats

LANE_STAGES = ("copy in", "compute", "copy out")  # stages of Stats, between a lane's four events


@dataclass(frozen=True)
class Buffers:
    """Where a network reads and writes: addresses on the GPU, and the stream to compute on."""

    buckets: Sequence[int]  # the batch sizes to compute, ascending; N is the last
    pixels: int  # uint8 (N, V, S, S, 3)
    outputs: Mapping[str, int]  # name -> float32 (N, width)
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


class GpuLane:
    """One batch in flight.

    A batch is padded to the smallest of the network's buckets that holds it. The lane runs each bucket once, and
    captures it as a CUDA graph where the network allows it. A batch then starts with a copy and one launch.

    batch: the number of slots, at most the network's largest bucket.
    """

    def __init__(self, context: Context, network: Network, views: ViewSpec, batch: int, stats: Stats) -> None:
        self._context, self._stats, widths = context, stats, network.widths
        self._buckets = [bucket for bucket in network.buckets if bucket < batch]
        self._buckets.append(next(bucket for bucket in network.buckets if bucket >= batch))
        most = self._buckets[-1]
        self._stream = context.stream()
        self._slots, self._pinned_in = context.pinned((batch, *views.shape))
        self._row = self._slots[0].nbytes
        self._pixels = context.memory(most * self._row, self._stream)
        offsets, size = _lay_out(widths, most)
        rows, self._pinned_out = context.pinned((size,))
        self._outputs = context.memory(size, self._stream)
        self._results = {
            name: rows[offset:][: most * widths[name] * 4].view(np.float32).reshape(most, -1)
            for name, offset in offsets.items()
        }
        self._frames = Frames(context, views, self._stream, batch, int(self._pixels.handle))
        self._events = [context.event() for _ in range(len(LANE_STAGES) + 1)]
        self._launched, self._closed = 0, False
        with context.guarded("cannot prepare a lane"):
            self._pixels.fill(0, stream=self._stream)
            base = int(self._outputs.handle)
            addresses = {name: base + offset for name, offset in offsets.items()}
            self._program = network.bind(
                Buffers(self._buckets, int(self._pixels.handle), addresses, self._stream, context)
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
        bucket = next(bucket for bucket in self._buckets if bucket >= n)
        with self._context.guarded("cannot start a batch"):
            began, copied, computed, done = self._events
            self._stream.record(began)
            self._copy_in(n)
            self._stream.record(copied)
            graph = self._graphs[bucket]
            if graph is None:
                self._program.enqueue(bucket, int(self._stream.handle))
            else:
                graph.launch(self._stream)
            self._stream.record(computed)
            self._outputs.copy_to(self._pinned_out, stream=self._stream)
            self._stream.record(done)
        self._launched = n

    def result(self) -> Outputs:
        self._check()
        if not self._launched:
            raise EngineError("nothing was launched on this lane")
        n, self._launched = self._launched, 0
        with self._context.guarded("a batch failed"):
            self._events[-1].sync()
            for stage, before, after in zip(LANE_STAGES, self._events, self._events[1:], strict=False):
                self._stats.add(stage, (after - before) / 1e3)
            self._frames.clear()
        return Outputs(**{name: rows[:n].copy() for name, rows in self._results.items()})

    def close(self) -> None:
        """Waits for the launched batch and frees the lane's memory."""
        self._closed = True
        held = (*self._graphs.values(), self._program, self._frames)
        held += self._pixels, self._outputs, self._pinned_in, self._pinned_out
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

    def _copy_in(self, n: int) -> None:
        for first, last in _runs(i for i in range(n) if i not in self._frames):
            offset, size = first * self._row, (last - first) * self._row
            source, target = (self._context.part(buffer, offset, size) for buffer in (self._pinned_in, self._pixels))
            source.copy_to(target, stream=self._stream)
        self._frames.write(int(self._pixels.handle), n)

    def _capture(self, bucket: int) -> Any:
        """The bucket as a CUDA graph, or None where it cannot be one. Libraries set themselves up in a first run."""
        stream = int(self._stream.handle)
        self._program.enqueue(bucket, stream)
        self._stream.sync()
        if not self._program.can_be_captured(bucket, stream):
            return None
        capture = self._stream.create_graph_builder().begin_building()
        self._program.enqueue(bucket, stream)
        graph = capture.end_building().complete()
        capture.close()
        return graph


def _lay_out(widths: Mapping[str, int], rows: int) -> tuple[dict[str, int], int]:
    """Where each output begins in one buffer, and the buffer's size, in bytes."""
    offsets, size = {}, 0
    for name, width in widths.items():
        offsets[name] = size
        size += -(-rows * width * 4 // ALIGNMENT) * ALIGNMENT
    return offsets, size


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
