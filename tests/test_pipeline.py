"""The pipeline keeps order, bounds what it holds, and carries failures, whatever engine is behind it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from declip_rt import EngineError, ImageError
from declip_rt.backends.contract import Outputs
from declip_rt.pipeline import Done, Slot, run


class SumLane:
    """Gives back each slot's first byte; checks that it is used as the contract says."""

    def __init__(self, batch: int, fail_at: int | None) -> None:
        self.buffer = np.zeros((batch, 1, 1, 1, 3), np.uint8)
        self.launched: int | None = None
        self.fail_at, self.launches = fail_at, 0

    def slot(self, i: int) -> np.ndarray:
        assert self.launched is None, "a slot was written while its lane computed"
        return self.buffer[i]

    def put(self, i: int, frame: object) -> tuple[int, int]:
        raise NotImplementedError

    def launch(self, n: int) -> None:
        assert 0 < n <= len(self.buffer)
        assert self.launched is None
        self.launched = n
        self.launches += 1

    def result(self) -> Outputs:
        assert self.launched is not None
        n, self.launched = self.launched, None
        if self.launches == self.fail_at:
            raise EngineError("lost")
        values = self.buffer[:n, 0, 0, 0, :1].astype(np.float32)
        return Outputs(values, values, values)


class SumEngine:
    device = "test"

    def __init__(self, batch: int, lanes: int, fail_at: int | None = None) -> None:
        self.batch = batch
        self.lanes = [SumLane(batch, fail_at) for _ in range(lanes)]

    def close(self) -> None: ...


def prepare(item: int, slot: Callable[[], Slot]) -> int:
    time.sleep(0.0005 * (item * 7 % 5))
    if item % 5 == 3:
        raise ImageError(f"bad {item}")
    slot().memory[...] = item % 256
    return -item


def value(done: Done[int, int]) -> object:
    if done.error is not None:
        return str(done.error)
    assert done.outputs is not None
    assert done.facts == -done.item
    return float(done.outputs.scores[done.row, 0])


@pytest.mark.parametrize(
    ("batch", "lanes", "workers", "n"), [*itertools.product((1, 3, 8), (1, 2, 3), (1, 4), (0, 1, 23))]
)
def test_everything_comes_out_once_in_order(batch: int, lanes: int, workers: int, n: int) -> None:
    found = [value(done) for done in run(range(n), prepare, SumEngine(batch, lanes), workers)]
    assert found == [f"bad {i}" if i % 5 == 3 else float(i) for i in range(n)]


def test_a_batch_of_failures_is_not_launched() -> None:
    engine = SumEngine(2, 2)
    found = [value(done) for done in run([3, 8, 13, 18], prepare, engine, 2)]
    assert found == ["bad 3", "bad 8", "bad 13", "bad 18"]
    assert [lane.launches for lane in engine.lanes] == [0, 0]


def test_it_reads_no_further_ahead_than_the_lanes_hold() -> None:
    read = 0

    def endless() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield 1

    stream = run(endless(), prepare, SumEngine(4, 3), 2)
    for taken in range(1, 50):
        next(stream)
        assert read <= taken + 4 * 3
    stream.close()


def test_a_bug_in_prepare_ends_the_run_loudly() -> None:
    def broken(item: int, slot: Callable[[], Slot]) -> int:
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        list(run([1], broken, SumEngine(2, 2), 2))


def test_an_engine_failure_ends_the_run_after_the_rows_before_it() -> None:
    stream = run([0, 1, 2, 4, 5, 6], prepare, SumEngine(2, 1, fail_at=2), 2)
    assert [next(stream).item, next(stream).item] == [0, 1]
    with pytest.raises(EngineError, match="lost"):
        next(stream)


def test_an_abandoned_run_leaves_the_engine_usable_and_no_threads() -> None:
    engine = SumEngine(2, 3)
    stream = run(range(0, 1000, 5), prepare, engine, 2)
    next(stream)
    stream.close()
    assert [lane.launched for lane in engine.lanes] == [None] * 3
    assert not [t for t in threading.enumerate() if t.name.startswith("declip-prepare")]
    assert [value(done) for done in run([0, 5], prepare, engine, 2)] == [0.0, 5.0]


def test_items_at_once_are_prepared_by_the_thread_that_gives_them_before_the_next_is_read() -> None:
    read: list[int] = []
    threads: dict[int, tuple[int, int]] = {}

    def items() -> Iterator[int]:
        for item in range(23):
            read.append(item)
            yield item

    def noted(item: int, slot: Callable[[], Slot]) -> int:
        threads[item] = threading.get_ident(), len(read)
        return prepare(item, slot)

    done = run(items(), noted, SumEngine(4, 2), 2, at_once=lambda item: item % 2 == 0)
    assert [value(each) for each in done] == [f"bad {i}" if i % 5 == 3 else float(i) for i in range(23)]
    for item, (thread, so_far) in threads.items():
        assert (thread == threading.get_ident()) == (item % 2 == 0)
        assert item % 2 or so_far == item + 1


def test_preparing_goes_on_while_a_lane_computes() -> None:
    prepared: list[int] = []

    class SlowLane(SumLane):
        def result(self) -> Outputs:
            time.sleep(0.05)
            during.append(len(prepared))
            return super().result()

    def fast(item: int, slot: Callable[[], Slot]) -> int:
        slot().memory[...] = item
        prepared.append(item)
        return -item

    during: list[int] = []
    engine = SumEngine(2, 2)
    engine.lanes = [SlowLane(2, None) for _ in range(2)]
    assert [value(done) for done in run(range(8), fast, engine, 1)] == [float(i) for i in range(8)]
    assert during[0] == 4, "the second lane was filled while the first computed"
