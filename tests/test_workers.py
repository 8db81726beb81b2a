"""An image that takes too long is an error of its own; what waits for others has all the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from declip_rt import ConfigError, EngineError, ImageError, Scorer
from declip_rt.images import sources
from declip_rt.images.memory import Budget
from declip_rt.workers import Workers, _At, if_given_up, standing
from tests.conftest import encoded, picture

LATE = "took longer than {:g} s (--timeout)"


class Made:
    """A task that keeps what its call returned, or the reason why not."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call, self.ended, self.made = call, threading.Event(), object()

    def make(self) -> None:
        try:
            self.made = self.call()
        except ImageError as error:
            self.made = error.reason

    def finish(self) -> None:
        self.ended.set()

    def fail(self, error: ImageError) -> None:
        self.made = error.reason
        self.ended.set()


def submit(workers: Workers, call: Callable[[], object]) -> Made:
    task = Made(call)
    workers.submit(task)
    return task


def result(workers: Workers, task: Made) -> object:
    until = time.monotonic() + 30
    while not task.ended.wait(workers.look()):
        assert time.monotonic() < until
    return task.made


def loading() -> int:
    return sum(thread.name == "declip-load" for thread in threading.enumerate())


def wait_for(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so() and time.monotonic() < until:
        time.sleep(0.01)
    assert is_so()


def test_the_run_goes_on_past_an_image_that_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hung, read, before = threading.Event(), sources.read, loading()

    def slow(path: str, most: int | None = None) -> sources.Content:
        if path.endswith("hang.jpg"):
            hung.wait(60)
        return read(path, most)

    monkeypatch.setattr(sources, "read", slow)
    (folder / "hang.jpg").write_bytes(encoded(picture()))
    paths = [str(folder / name) for name in ("a.jpg", "hang.jpg", "b.jpg", "c.jpg")]
    with Scorer(device="cpu", batch=2, workers=1, timeout=0.5) as scorer:
        first, late, *others = scorer.score_many(paths, return_errors=True)
        assert isinstance(late, ImageError)
        assert str(late) == f"{paths[1]}: {LATE.format(0.5)}"
        assert [first, *others] == list(scorer.score_many([paths[0], *paths[2:]]))
    hung.set()
    wait_for(lambda: loading() <= before)  # closing lets the threads go, and so does the end of what hung


def test_what_is_made_in_time_is_finished_and_what_is_not_is_not() -> None:
    workers, hung = Workers(2, 0.2), threading.Event()
    late = submit(workers, lambda: hung.wait(60))
    assert result(workers, submit(workers, lambda: "made")) == "made"
    assert result(workers, late) == LATE.format(0.2)
    late.ended.clear()
    hung.set()
    assert not late.ended.wait(0.2)
    workers.close()


def test_what_takes_too_long_is_late_though_nobody_looked() -> None:
    workers = Workers(1, 0.05)
    late = submit(workers, lambda: time.sleep(0.1))
    assert late.ended.wait(10)
    assert late.made == LATE.format(0.05)
    assert result(workers, submit(workers, lambda: "made")) == "made"
    workers.close()


def test_waiting_for_others_takes_no_time_of_an_image() -> None:
    def make() -> str:
        with standing():
            time.sleep(0.6)
        return "made"

    workers = Workers(1, 0.2)
    assert result(workers, submit(workers, make)) == "made"
    workers.close()


def test_an_image_that_hangs_takes_no_memory_from_those_that_wait() -> None:
    hung, budget = threading.Event(), Budget(100)

    def making(cost: int) -> Callable[[], str]:
        def make() -> str:
            with ExitStack() as borrowed:
                with standing():
                    give_up = borrowed.enter_context(budget.lent(cost, f"one of {cost}"))
                if_given_up(give_up)
                if cost == 60:
                    hung.wait(60)
                return "made"

        return make

    workers = Workers(3, 0.3)
    late = submit(workers, making(60))
    time.sleep(0.1)
    large, small = submit(workers, making(70)), submit(workers, making(40))
    assert result(workers, late) == LATE.format(0.3)
    assert "one of 70 needs" in (reason := str(result(workers, large)))
    assert "of which photos that took too long hold" in reason
    assert result(workers, small) == "made"
    hung.set()
    wait_for(lambda: not budget._lost)
    assert result(workers, submit(workers, making(100))) == "made"  # all of it is there again
    workers.close()


def test_not_more_than_some_are_lost_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("declip_rt.workers.MOST_LOST", 2)
    hung, workers = threading.Event(), Workers(1, 0.05)
    tasks = [submit(workers, lambda: hung.wait(60)) for _ in range(4)]
    assert [result(workers, task) for task in tasks] == 2 * [LATE.format(0.05)] + 2 * [
        "not tried: 2 images that took too long are still in work (--timeout)"
    ]
    hung.set()
    wait_for(lambda: not any(worker.thread.is_alive() for worker in workers._lost))
    assert result(workers, submit(workers, lambda: "made")) == "made"
    workers.close()


def test_a_task_in_time_is_not_given_up_for_the_one_before_it() -> None:
    """The worker may have gone on between a look at its clock and the giving up."""
    at, hung = _At(), threading.Event()
    at.begin(Made(lambda: hung.wait(60)))
    time.sleep(0.02)
    assert at.left(0.01) < 0
    assert at.take() is not None
    at.begin(Made(lambda: None))
    assert at.take(late=0.01 + 10) is None
    assert not at.is_lost


def test_threads_that_cannot_be_started_are_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    hung, start = threading.Event(), threading.Thread.start
    workers = Workers(1, 0.05)

    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none)
        with pytest.raises(EngineError, match="no thread can be started"):
            Workers(1, None)
        assert result(workers, submit(workers, lambda: hung.wait(60))) == LATE.format(0.05)
    assert threading.Thread.start is start
    assert result(workers, submit(workers, lambda: "made")) == "made"
    hung.set()
    workers.close()


@pytest.mark.parametrize("seconds", [None, float("inf"), 1e12])
def test_any_time_is_a_time(seconds: float | None) -> None:
    workers = Workers(1, seconds)
    assert result(workers, submit(workers, lambda: "made")) == "made"
    workers.close()


def test_closing_waits_for_what_was_submitted_and_for_nothing_that_hangs() -> None:
    hung, workers = threading.Event(), Workers(1, 0.1)
    tasks = [submit(workers, lambda: hung.wait(60)), submit(workers, lambda: "made")]
    workers.close()
    assert [task.made for task in tasks] == [LATE.format(0.1), "made"]
    hung.set()


def test_workers_that_nobody_has_any_more_end() -> None:
    workers = Workers(3, None)
    threads = [worker.thread for worker in workers._active]
    assert all(thread.is_alive() for thread in threads)
    del workers
    wait_for(lambda: not any(thread.is_alive() for thread in threads))


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_time_is_above_0(seconds: float) -> None:
    with pytest.raises(ConfigError, match="`timeout` must be above 0 seconds"):
        Scorer(device="cpu", timeout=seconds)
