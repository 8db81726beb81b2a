"""The pipeline keeps order, bounds what it holds, and carries failures, whatever engine is behind it."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from declip_rt import EngineError, ImageError
from declip_rt.backends.contract import EngineInfo, Outputs
from declip_rt.pipeline import Done, Pipeline, Slot


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
    def __init__(self, batch: int, lanes: int, fail_at: int | None = None) -> None:
        self.info = EngineInfo("cpu", None, "a test", "fp32", batch, lanes)
        self.lanes = [SumLane(batch, fail_at) for _ in range(lanes)]
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


def load(item: int) -> int:
    time.sleep(0.0005 * (item * 7 % 5))
    if item % 5 == 3:
        raise ImageError(f"bad {item}")
    return item


def place(item: int, slot: Slot) -> int:
    slot.memory[...] = item % 256
    return -item


@contextmanager
def pipeline_of(engine: SumEngine, workers: int = 2, **options: Any) -> Iterator[Pipeline[int, int, int]]:
    made = Pipeline[int, int, int](engine, options.pop("load", load), options.pop("place", place), workers, **options)
    yield made
    made.close()


def value(done: Done[int, int]) -> object:
    if done.error is not None:
        return str(done.error)
    assert done.outputs is not None
    assert done.facts is not None
    assert done.item in (None, -done.facts)  # one that was placed at once is not kept
    return float(done.outputs.scores[done.row, 0])


def expected(items: Iterable[int]) -> list[object]:
    return [f"bad {i}" if i % 5 == 3 else float(i % 256) for i in items]


@pytest.mark.parametrize(
    ("batch", "lanes", "workers", "n"), [*itertools.product((1, 3, 8), (1, 2, 3), (1, 4), (0, 1, 23))]
)
def test_everything_comes_out_once_in_order(batch: int, lanes: int, workers: int, n: int) -> None:
    with pipeline_of(SumEngine(batch, lanes), workers) as pipeline:
        for _ in range(2):
            assert [value(done) for done in pipeline.run(range(n))] == expected(range(n))


def test_a_batch_of_failures_is_not_launched() -> None:
    engine = SumEngine(2, 2)
    with pipeline_of(engine) as pipeline:
        found = [value(done) for done in pipeline.run([3, 8, 13, 18])]
    assert found == ["bad 3", "bad 8", "bad 13", "bad 18"]
    assert [lane.launches for lane in engine.lanes] == [0, 0]


def test_it_reads_no_further_ahead_than_the_lanes_hold() -> None:
    read = 0

    def endless() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield 1

    with pipeline_of(SumEngine(4, 3)) as pipeline:
        stream = pipeline.run(endless())
        for taken in range(1, 50):
            next(stream)
            assert read <= taken + 4 * 3
        stream.close()


@pytest.mark.parametrize("stage", ["load", "place"])
def test_a_bug_ends_the_run_loudly_and_the_next_one_works(stage: str) -> None:
    bugs = ["a bug"]

    def broken(*arguments: Any) -> int:
        if bugs:
            raise RuntimeError(bugs.pop())
        return load(*arguments) if stage == "load" else place(*arguments)

    with pipeline_of(SumEngine(2, 2), **{stage: broken}) as pipeline:
        with pytest.raises(RuntimeError, match="a bug"):
            list(pipeline.run([1]))
        assert [value(done) for done in pipeline.run([1, 2])] == [1.0, 2.0]


def test_an_engine_failure_ends_the_run_after_the_rows_before_it() -> None:
    with pipeline_of(SumEngine(2, 1, fail_at=2)) as pipeline:
        stream = pipeline.run([0, 1, 2, 4, 5, 6])
        assert [next(stream).item, next(stream).item] == [0, 1]
        with pytest.raises(EngineError, match="lost"):
            next(stream)


def test_an_abandoned_run_is_done_with_its_images_and_leaves_the_lanes_free() -> None:
    engine, at_work, threads = SumEngine(2, 3), set[int](), set(threading.enumerate())

    def noted(item: int) -> int:
        at_work.add(item)
        time.sleep(0.01)
        at_work.discard(item)
        return item

    with pipeline_of(engine, load=noted) as pipeline:
        stream = pipeline.run(range(0, 1000, 5))
        next(stream)
        stream.close()
        assert at_work == set()
        assert [lane.launched for lane in engine.lanes] == [None] * 3
        assert [value(done) for done in pipeline.run([0, 5])] == [0.0, 5.0]
    assert engine.is_closed
    assert set(threading.enumerate()) <= threads


def test_items_at_once_are_placed_by_the_thread_that_gives_them_before_the_next_is_read() -> None:
    read: list[int] = []
    threads: dict[int, tuple[int, int]] = {}

    def items() -> Iterator[int]:
        for item in range(23):
            read.append(item)
            yield item

    def noted(item: int, slot: Slot) -> int:
        threads[item] = threading.get_ident(), len(read)
        return place(item, slot)

    with pipeline_of(SumEngine(4, 2), place=noted, at_once=lambda item: item % 2 == 0) as pipeline:
        assert [value(each) for each in pipeline.run(items())] == expected(range(23))
        assert value(pipeline.one(24)) == 24.0
    for item, (thread, so_far) in threads.items():
        assert (thread == threading.get_ident()) == (item % 2 == 0)
        assert item % 2 or so_far == min(item + 1, 23)


def test_an_iterator_that_fails_ends_its_run_alone() -> None:
    def failing() -> Iterator[int]:
        yield from (1, 2, 4)
        raise KeyError("the caller's own")

    with pipeline_of(SumEngine(2, 1)) as pipeline:
        for _ in range(3):
            with pytest.raises(KeyError, match="the caller's own"):
                list(pipeline.run(failing()))
            assert value(pipeline.one(5)) == 5.0


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_threads_share_a_pipeline_and_get_their_own_results(lanes: int) -> None:
    with pipeline_of(SumEngine(3, lanes), 2) as pipeline, ThreadPoolExecutor(12) as threads:
        runs = [threads.submit(lambda s: [value(d) for d in pipeline.run(range(s, s + 40))], s) for s in range(6)]
        ones = [threads.submit(lambda i: value(pipeline.one(i)), i) for i in range(150)]
        assert [one.result(60) for one in ones] == expected(range(150))
        for start, run in enumerate(runs):
            assert run.result(60) == expected(range(start, start + 40))


def test_callers_that_meet_fill_one_batch() -> None:
    engine, may_go = SumEngine(8, 1), threading.Event()

    class HeldLane(SumLane):
        def result(self) -> Outputs:
            may_go.wait(60)
            return super().result()

    engine.lanes = [HeldLane(8, None)]
    with pipeline_of(engine, 2) as pipeline, ThreadPoolExecutor(9) as threads:
        found = [threads.submit(lambda i: value(pipeline.one(i)), 5 * i) for i in range(9)]
        while len(pipeline._requests) < 8:  # one computes, the others wait for its lane
            time.sleep(0.001)
        may_go.set()
        assert [each.result(60) for each in found] == [float(5 * i) for i in range(9)]
    assert engine.lanes[0].launches == 2


def test_a_run_that_nobody_reads_holds_nobody_up() -> None:
    with pipeline_of(SumEngine(2, 2)) as pipeline:
        stream = pipeline.run(range(0, 100, 5))
        next(stream)
        assert [value(done) for done in pipeline.run([1, 2, 4])] == [1.0, 2.0, 4.0]
        assert value(pipeline.one(7)) == 7.0
        assert [value(done) for done in stream] == [float(i) for i in range(5, 100, 5)]


def test_a_call_that_makes_the_images_of_another_never_hangs() -> None:
    def made(pipeline: Pipeline[int, int, int]) -> Iterator[int]:
        for i in (1, 2, 4):
            yield int(value(pipeline.one(i)))  # type: ignore[call-overload]

    def made_by_others(pipeline: Pipeline[int, int, int], threads: ThreadPoolExecutor) -> Iterator[int]:
        for i in (1, 2, 4):
            yield int(threads.submit(lambda i: value(pipeline.one(i)), i).result(60))  # type: ignore[call-overload]

    for lanes in (1, 2):
        with (
            pipeline_of(SumEngine(2, lanes)) as pipeline,
            ThreadPoolExecutor(5) as threads,
            ThreadPoolExecutor(5) as own,
        ):
            assert [value(done) for done in pipeline.run(made(pipeline))] == [1.0, 2.0, 4.0]
            runs = [
                own.submit(lambda p, t: [value(d) for d in p.run(made_by_others(p, t))], pipeline, threads)
                for _ in range(5)
            ]
            assert [run.result(60) for run in runs] == [[1.0, 2.0, 4.0]] * 5
    with pipeline_of(SumEngine(2, 1), at_once=lambda item: True) as pipeline:
        with pytest.raises(EngineError, match="take more `lanes`"):
            list(pipeline.run(made(pipeline)))
        assert value(pipeline.one(1)) == 1.0


def test_iterators_that_wait_for_their_images_hold_no_lane() -> None:
    source: queue.Queue[int | None] = queue.Queue()
    with pipeline_of(SumEngine(2, 2)) as pipeline, ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(lambda: [value(d) for d in pipeline.run(iter(source.get, None))]) for _ in range(4)]
        assert value(pipeline.one(1)) == 1.0
        assert [value(done) for done in pipeline.run([1, 2, 4])] == [1.0, 2.0, 4.0]
        for item in (5, 6, 7, None, None, None, None):
            source.put(item)
        assert sorted(itertools.chain.from_iterable(each.result(60) for each in waiting)) == [5.0, 6.0, 7.0]


def test_what_cannot_be_told_apart_ends_its_run_alone() -> None:
    def tell(item: int) -> bool:
        if item == 2:
            raise ValueError("no device")
        return False

    with pipeline_of(SumEngine(2, 1), at_once=tell) as pipeline:
        for call in (lambda: list(pipeline.run([1, 2, 4])), lambda: pipeline.one(2)):
            with pytest.raises(ValueError, match="no device"):
                call()
        assert value(pipeline.one(1)) == 1.0


def test_closing_ends_what_is_on_its_way_and_refuses_the_rest() -> None:
    with pipeline_of(SumEngine(2, 2)) as pipeline:
        stream = pipeline.run(range(0, 100, 5))
        next(stream)
        pipeline.close()
        with pytest.raises(EngineError, match="closed"):
            list(stream)
        for call in (lambda: pipeline.one(1), lambda: next(pipeline.run([1]))):
            with pytest.raises(EngineError, match="this scorer is closed; open another"):
                call()


def test_what_is_submitted_while_it_closes_is_refused() -> None:
    with pipeline_of(SumEngine(2, 2), timeout=5.0) as pipeline:
        submit, taken, closing = pipeline._workers.submit, threading.Event(), threading.Event()

        def late(task: Any) -> bool:
            taken.set()
            assert closing.wait(10)
            return submit(task)

        pipeline._workers.submit = late  # type: ignore[method-assign]
        with ThreadPoolExecutor(1) as pool:
            one = pool.submit(pipeline.one, 1)
            assert taken.wait(10)
            pipeline.close()
            closing.set()
            with pytest.raises(EngineError, match="closed"):
                one.result(10)


def test_an_interrupt_ends_the_run_at_once() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(50):
            read.append(item)
            yield item

    def stop(item: int) -> int:
        if item == 3:
            raise KeyboardInterrupt
        return item

    with pipeline_of(SumEngine(4, 4), load=stop, at_once=lambda _: True) as pipeline:
        with pytest.raises(KeyboardInterrupt):
            list(pipeline.run(items()))
        assert read == [0, 1, 2, 3]
        assert value(pipeline.one(5)) == 5.0


def test_closing_while_others_score_ends_them_with_an_error() -> None:
    for _ in range(20):
        with pipeline_of(SumEngine(2, 2)) as pipeline, ThreadPoolExecutor(4) as threads:

            def score(pipeline: Pipeline[int, int, int] = pipeline) -> str:
                try:
                    for i in itertools.count():
                        pipeline.one(5 * i)
                except EngineError as error:
                    return str(error)
                return ""

            found = [threads.submit(score) for _ in range(4)]
            time.sleep(0.005)
            pipeline.close()
            assert {each.result(60) for each in found} == {"this scorer is closed; open another"}


def test_preparing_goes_on_while_a_lane_computes() -> None:
    prepared: list[int] = []

    class SlowLane(SumLane):
        def result(self) -> Outputs:
            time.sleep(0.05)
            during.append(len(prepared))
            return super().result()

    def noted(item: int, slot: Slot) -> int:
        prepared.append(item)
        return place(item, slot)

    during: list[int] = []
    engine = SumEngine(2, 2)
    engine.lanes = [SlowLane(2, None) for _ in range(2)]
    with pipeline_of(engine, 1, load=lambda item: item, place=noted) as pipeline:
        assert [value(done) for done in pipeline.run(range(8))] == [float(i) for i in range(8)]
    assert during[0] == 4, "the second lane was filled while the first computed"
