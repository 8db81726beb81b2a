"""Overlaps loading images with computing them: in bounded memory, in input order, for any number of callers."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends.contract import Engine, Lane, Outputs
from declip_rt.errors import DeclipError, EngineError, ImageError
from declip_rt.stats import Stats, marked
from declip_rt.workers import Workers

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Facts = TypeVar("Facts")
CLOSED = "this scorer is closed; open another"


@dataclass(slots=True)
class Slot:
    """A place in a lane for one image: `memory` (V, S, S, 3) for its views, or `put` for a frame on the GPU."""

    lane: Lane
    i: int

    @property
    def memory(self) -> NDArray[np.uint8]:
        return self.lane.slot(self.i)

    def put(self, frame: object) -> tuple[int, int]:
        """See Lane.put."""
        return self.lane.put(self.i, frame)


@dataclass(slots=True)
class Done(Generic[Item, Facts]):
    """One item after its way: what `place` said of it and its row of `outputs`, or the error that it met."""

    item: Item | None  # None for one that was placed at once: its owner may want its memory
    facts: Facts | None = None
    outputs: Outputs | None = None  # of the whole batch
    row: int = 0
    error: ImageError | None = None


@dataclass
class _Batch(Generic[Item, Facts]):
    """Items on their way into one lane. An item takes a slot when it is loaded, so failures leave no holes.

    The last that holds it starts it: its filler holds it until it is full, and each item until it is placed.
    """

    lane: Lane
    items: list[Item | None] = field(default_factory=list)
    placed: list[tuple[Facts, int] | BaseException | None] = field(default_factory=list)
    taken: int = 0
    holders: int = 1
    is_dropped: bool = False  # nobody wants its results
    error: EngineError | None = None
    outputs: Outputs | None = None
    is_done: bool = False
    started: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    collecting: threading.Lock = field(default_factory=threading.Lock)

    def take_slot(self) -> Slot:
        with self.lock:
            self.taken += 1
            return Slot(self.lane, self.taken - 1)

    def hold(self, item: Item) -> int:
        """Takes an item, and gives its place among the items."""
        self.items.append(item)
        self.placed.append(None)
        with self.lock:
            self.holders += 1
        return len(self.items) - 1

    def release(self) -> None:
        with self.lock:
            self.holders -= 1
            if self.holders:
                return
        try:
            if self.taken:
                with marked("launch"):
                    self.lane.launch(self.taken)
        except EngineError as error:
            self.error = error
        self.started.set()


class _Preparing(Generic[Item, Loaded, Facts]):
    """A worker's task: one item of a batch is loaded and placed."""

    __slots__ = ("_batch", "_failed", "_index", "_item", "_loaded", "_pipeline")

    def __init__(self, pipeline: Pipeline[Item, Loaded, Facts], batch: _Batch[Item, Facts], item: Item) -> None:
        self._pipeline, self._batch, self._item, self._index = pipeline, batch, item, batch.hold(item)
        self._loaded: Loaded
        self._failed: BaseException | None = None

    def make(self) -> None:
        try:
            self._loaded = self._pipeline.load(self._batch, self._item)
        except BaseException as error:
            self._failed = _bare(error)

    def finish(self) -> None:
        placed: tuple[Facts, int] | BaseException | None = self._failed
        if placed is None:
            try:
                slot = self._batch.take_slot()
                placed = self._pipeline.place(self._loaded, slot), slot.i
            except BaseException as error:
                placed = _bare(error)
        self._end(placed)

    def fail(self, error: DeclipError) -> None:
        self._end(error)

    def _end(self, placed: tuple[Facts, int] | BaseException) -> None:
        self._batch.placed[self._index] = placed
        self._batch.release()


def _bare(error: BaseException) -> BaseException:
    """An image's error without its traceback, which holds the image and the batch."""
    return ImageError(error.reason) if isinstance(error, ImageError) else error


@dataclass(eq=False)
class _Request(Generic[Item, Facts]):
    """One item whose caller waits for a lane: the first that gets one takes the others along."""

    item: Item
    batch: _Batch[Item, Facts] | None = None
    index: int = 0


class Pipeline(Generic[Item, Loaded, Facts]):
    """Computes items on an engine's lanes. Threads may share it: whoever needs a lane collects the oldest batch.

    Args:
        engine: its lanes are used by this pipeline alone. It is closed with it.
        load: called in a pool of threads. What it returns goes to `place`.
        place: called after it, by the same thread, with a Slot to fill. What it returns becomes the item's facts.
        workers: threads of the pool.
        stats: told how long callers stood still.
        at_once: items that the caller's own thread loads and places, before it reads the next.
        timeout: seconds that `load` may take in the pool; what takes longer is an ImageError. None is any time.

    An ImageError that `load` or `place` raises becomes the item's error; any other exception ends the run.
    """

    def __init__(
        self,
        engine: Engine,
        load: Callable[[Item], Loaded],
        place: Callable[[Loaded, Slot], Facts],
        workers: int,
        stats: Stats | None = None,
        at_once: Callable[[Item], bool] = lambda item: False,
        timeout: float | None = None,
    ) -> None:
        self.engine, self._load, self.place, self._at_once = engine, load, place, at_once
        self._stats, self._process = stats or Stats(), os.getpid()
        self._workers = Workers(workers, timeout)
        self._changed = threading.Condition()
        self._free = deque(engine.lanes)
        self._in_flight: deque[_Batch[Item, Facts]] = deque()  # full ones, the oldest first
        self._fillers: list[int] = []  # threads that fill a batch
        self._requests: deque[_Request[Item, Facts]] = deque()
        self._waiting = 0  # callers that need a lane to go on
        self._closed = False

    def check(self) -> None:
        """Raises EngineError where the pipeline is closed, or was made by the parent of this process."""
        if self._process != os.getpid():
            raise EngineError(
                f"this scorer was opened in process {self._process}, of which this one is a fork without its threads: "
                'open a Scorer in each process, or start them by `multiprocessing.get_context("spawn")`'
            )
        if self._closed:
            raise EngineError(CLOSED)

    def run(self, items: Iterable[Item]) -> Generator[Done[Item, Facts]]:
        """Yields a Done for each item, in order. Reads `items` no further ahead than the engine's lanes hold."""
        left, read, mine, ended = iter(items), list[Item](), deque[_Batch[Item, Facts]](), False
        try:
            while True:
                self.check()
                while (read or not ended) and (self._free or not mine):
                    ended = ended or self._read(left, read)  # without a lane: reading may last, or need one itself
                    if not read:
                        break
                    lane = self._take_lane(wait=not mine or self._at_once(read[-1]))
                    if lane is None:
                        break
                    mine.append(self._fill(lane, read, left))
                    read = []
                if not mine:
                    return
                self._collect(mine[0])
                for done in _finish(mine.popleft()):
                    self.check()
                    yield done
        finally:
            for batch in mine:
                batch.is_dropped = True
            while mine and self._process == os.getpid():  # the caller may now change or free its images
                self._collect(mine.popleft())

    def one(self, item: Item) -> Done[Item, Facts]:
        """The Done of one item. Callers that wait for a lane at the same time share a batch."""
        self.check()
        request = _Request[Item, Facts](item)
        if self._at_once(item):
            lane = self._take_lane(wait=True)
            assert lane is not None
            request.batch = self._fill(lane, [item])
        else:
            self._wait_for_batch(request)
        assert request.batch is not None
        self._collect(request.batch)
        return next(_finish(request.batch, request.index))

    def close(self) -> None:
        """Waits for what is on its way, and closes the engine. Callers that have not got their results fail.

        A fork of the process that made it has nothing to close.
        """
        if self._closed or self._process != os.getpid():
            return
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._workers.close()
        while (oldest := self._oldest()) is not None:
            self._collect(oldest)
        self.engine.close()
        self._free.clear()

    def _read(self, left: Iterator[Item], read: list[Item]) -> bool:
        """Adds to `read` what a batch lacks, but nothing behind an item at once. Returns whether `left` has ended."""
        while len(read) < self.engine.info.batch and not (read and self._at_once(read[-1])):
            try:
                read.append(next(left))
            except StopIteration:
                return True
        return False

    def _wait_for_batch(self, request: _Request[Item, Facts]) -> None:
        with self._changed:
            self._requests.append(request)
        try:
            while request.batch is None and (lane := self._take_lane(wait=True, request=request)):
                self._serve(lane)
        finally:
            with self._changed:
                if request in self._requests:  # its caller is gone
                    self._requests.remove(request)

    def _take_lane(self, wait: bool, request: _Request[Item, Facts] | None = None) -> Lane | None:
        """A free lane. None where it would have to `wait` and must not, or where `request` got a batch meanwhile."""
        self.check()
        with self._changed:
            self._waiting += wait
        try:
            while True:
                with self._changed:
                    self.check()
                    if request is not None and request.batch is not None:
                        return None
                    if self._free and (wait or not self._waiting):
                        return self._free.popleft()
                    if not wait:
                        return None
                    oldest = self._in_flight[0] if self._in_flight else None
                    if oldest is None:
                        self._wait_for_fillers()
                if oldest is not None:
                    self._collect(oldest)
        finally:
            with self._changed:
                self._waiting -= wait

    def _oldest(self) -> _Batch[Item, Facts] | None:
        with self._changed:
            return self._in_flight[0] if self._in_flight else None

    def _wait_for_fillers(self) -> None:
        if threading.get_ident() in self._fillers:
            raise EngineError(
                "frames of a call are made by a call of the same scorer, and no lane is left for it: "
                "make them with a scorer of their own, or take more `lanes`"
            )
        self._changed.wait()

    def _serve(self, lane: Lane) -> None:
        """Puts the requests that wait into a batch on this lane; gives it back where there are none."""
        with self._changed:
            size = min(len(self._requests), self.engine.info.batch)
            served = [self._requests.popleft() for _ in range(size)]
            if not served:
                self._free.append(lane)
                self._changed.notify_all()
                return
        try:
            batch = self._fill(lane, [request.item for request in served])
        except BaseException:
            with self._changed:  # others serve them
                self._requests.extendleft(reversed(served))
                self._changed.notify_all()
            raise
        with self._changed:
            for index, request in enumerate(served):
                request.index, request.batch = index, batch
            self._changed.notify_all()

    def _fill(self, lane: Lane, items: Sequence[Item], left: Iterator[Item] | None = None) -> _Batch[Item, Facts]:
        """A batch in flight, with the items; where the last is one at once, also with what follows it in `left`.

        Where reading that fails, the batch is waited for.
        """
        batch = _Batch[Item, Facts](lane)
        with self._changed:
            self._fillers.append(threading.get_ident())
        try:
            room = self.engine.info.batch - len(items) if left and self._at_once(items[-1]) else 0
            for item in itertools.chain(items, itertools.islice(left or (), room)):
                self._submit(batch, item)
        except BaseException:
            batch.is_dropped = True
            raise
        finally:
            with self._changed:
                self._fillers.remove(threading.get_ident())
                self._in_flight.append(batch)
                self._changed.notify_all()
            batch.release()
            if batch.is_dropped:
                self._collect(batch)
        return batch

    def _submit(self, batch: _Batch[Item, Facts], item: Item) -> None:
        task = _Preparing(self, batch, item)
        if not self._at_once(item):
            if not self._workers.submit(task):
                task.fail(EngineError(CLOSED))
            return
        task.make()
        task.finish()
        batch.items[-1] = None  # the lane alone holds it, for as long as it needs it
        if isinstance(stop := batch.placed[-1], BaseException) and not isinstance(stop, Exception):
            raise stop  # such as KeyboardInterrupt

    def load(self, batch: _Batch[Item, Facts], item: Item) -> Loaded:
        """Loads an item of a batch that is still wanted."""
        if self._closed or batch.is_dropped:
            raise EngineError(CLOSED)
        return self._load(item)

    def _collect(self, batch: _Batch[Item, Facts]) -> None:
        """Waits until the batch has its outputs or its error, and frees its lane. Any thread may; one does."""
        with batch.collecting:
            if batch.is_done:
                return
            with self._stats.timed("images"):
                while not batch.started.wait(self._workers.look()):
                    pass
            with self._stats.timed("model"):
                try:
                    if batch.taken and batch.error is None:
                        batch.outputs = batch.lane.result()
                except EngineError as error:
                    batch.error = error
            batch.is_done = True
        with self._changed:
            self._in_flight.remove(batch)
            self._free.append(batch.lane)
            self._changed.notify_all()


def _finish(batch: _Batch[Item, Facts], first: int = 0) -> Iterator[Done[Item, Facts]]:
    if batch.error is not None:
        raise batch.error
    for item, placed in itertools.islice(zip(batch.items, batch.placed, strict=True), first, None):
        if isinstance(placed, ImageError):
            yield Done(item, error=placed)
        elif isinstance(placed, BaseException):
            raise placed
        else:
            assert placed is not None
            yield Done(item, placed[0], batch.outputs, placed[1])
