"""Overlaps preparing images with computing them, in bounded memory and in input order."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends.contract import Engine, Lane, Outputs
from declip_rt.errors import EngineError, ImageError
from declip_rt.stats import Stats

Item = TypeVar("Item")
Facts = TypeVar("Facts")


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Done(Generic[Item, Facts]):
    """One item after its way: what `prepare` said of it and its row of `outputs`, or the error that it met."""

    item: Item
    facts: Facts | None = None
    outputs: Outputs | None = None  # of the whole batch
    row: int = 0
    error: ImageError | None = None


@dataclass
class _Batch(Generic[Item, Facts]):
    """Items on their way into one lane. An item takes a slot when it is ready for it, so failures leave no holes."""

    lane: Lane
    items: list[Item] = field(default_factory=list)
    prepared: list[Future[tuple[Facts, int]]] = field(default_factory=list)
    taken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take_slot(self) -> Slot:
        with self.lock:
            self.taken += 1
            return Slot(self.lane, self.taken - 1)


def run(
    items: Iterable[Item],
    prepare: Callable[[Item, Callable[[], Slot]], Facts],
    engine: Engine,
    workers: int,
    stats: Stats | None = None,
    at_once: Callable[[Item], bool] = lambda item: False,
) -> Generator[Done[Item, Facts]]:
    """Yields a Done for each item, in order.

    Args:
        items: read no further ahead than the engine's lanes hold.
        prepare: called in a pool of `workers` threads; decodes the item, calls its second argument once, and only then,
            for its Slot. What it returns is passed on. An ImageError that it raises becomes the item's error; any
            other exception ends the run.
        engine: its lanes are used by this run alone.
        stats: told how long the run stood still.
        at_once: items for which `prepare` is called in the caller's thread instead, as soon as each is read.
    """
    stats, left = stats or Stats(), iter(items)
    free = deque(engine.lanes)
    filling: deque[_Batch[Item, Facts]] = deque()
    computing: deque[_Batch[Item, Facts]] = deque()

    def put(batch: _Batch[Item, Facts], item: Item) -> tuple[Facts, int]:
        slots: list[Slot] = []

        def take() -> Slot:
            slots.append(batch.take_slot())
            return slots[0]

        return prepare(item, take), slots[0].i

    def submit(batch: _Batch[Item, Facts], item: Item) -> Future[tuple[Facts, int]]:
        if not at_once(item):
            return pool.submit(put, batch, item)
        done: Future[tuple[Facts, int]] = Future()
        try:
            done.set_result(put(batch, item))
        except ImageError as error:
            done.set_exception(error)
        return done

    pool = ThreadPoolExecutor(workers, thread_name_prefix="declip-prepare")
    try:
        while True:
            while free:
                batch = _Batch[Item, Facts](free[0])
                for item in itertools.islice(left, engine.batch):
                    batch.items.append(item)
                    batch.prepared.append(submit(batch, item))
                if not batch.items:
                    break
                filling.append(batch)
                free.popleft()
            if filling:
                batch = filling.popleft()
                with stats.timed("images"):
                    wait(batch.prepared)
                if batch.taken:
                    batch.lane.launch(batch.taken)
                computing.append(batch)
            if not computing:
                return
            if len(computing) >= len(engine.lanes) - 1 or not filling:  # else let it compute while others are filled
                batch = computing.popleft()
                with stats.timed("model"):
                    outputs = batch.lane.result() if batch.taken else None
                yield from _finish(batch, outputs)
                free.append(batch.lane)
    finally:
        pool.shutdown(cancel_futures=True)
        for batch in computing:  # a lane is left idle, so that the next run can use it
            if batch.taken:
                with suppress(EngineError):  # the run has ended already, perhaps by the same failure
                    batch.lane.result()


def _finish(batch: _Batch[Item, Facts], outputs: Outputs | None) -> Iterator[Done[Item, Facts]]:
    for item, future in zip(batch.items, batch.prepared, strict=True):
        try:
            facts, row = future.result()
        except ImageError as error:
            yield Done(item, error=error)
        else:
            yield Done(item, facts, outputs, row)
