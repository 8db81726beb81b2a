"""Between threads nothing is lost where the reader may wait, and the reader never waits where it may not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from declip_rt.video.handover import AHEAD, Handover


def test_all_items_come_in_order_and_few_wait() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(20):
            made.append(i)
            yield i

    handover = Handover(items())
    for i, item in enumerate(handover):
        assert item == i
        time.sleep(0.002)
        assert len(made) <= i + AHEAD + 2
    assert (len(made), handover.dropped) == (20, 0)


def test_a_writer_never_waits_and_the_newest_wins() -> None:
    given, goes_on = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        goes_on.wait(5)
        yield from range(1, 100)
        given.set()

    handover = Handover(items(), "drop")
    got = []
    for item in handover:
        got.append(item)
        goes_on.set()
        assert given.wait(5), "it was kept waiting"
    assert got == [0, 99]
    assert handover.dropped == 98


def test_an_error_comes_behind_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    handed = iter(Handover(items()))
    assert next(handed) == 1
    with pytest.raises(ValueError, match="broken"):
        next(handed)


@pytest.mark.parametrize("behind", ["block", "drop"])
def test_stopping_ends_it_though_the_iterator_hangs(behind: str) -> None:
    handover = Handover(iter(threading.Event().wait, None), behind)  # type: ignore[arg-type]
    threading.Timer(0.05, handover.stop).start()
    began = time.monotonic()
    assert list(handover) == []
    assert time.monotonic() - began < 2
