"""An image that takes too long is an error of its own; what waits for others has all the time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from declip_rt import ConfigError, ImageError, Scorer
from declip_rt.images import sources
from declip_rt.images.memory import Budget
from declip_rt.images.patience import Patience
from tests.conftest import encoded, picture


def helpers() -> int:
    return sum(thread.name == "declip-decode" for thread in threading.enumerate())


def test_the_run_goes_on_past_an_image_that_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hung, read, before = threading.Event(), sources.read, helpers()

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
        assert str(late) == f"{paths[1]}: took longer than 0.5 s (--timeout)"
        assert [first, *others] == list(scorer.score_many([paths[0], *paths[2:]]))
    hung.set()
    until = time.monotonic() + 10
    while helpers() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert helpers() == before  # closing lets the threads go, and so does the end of what hung


def test_waiting_for_others_takes_no_time_of_an_image() -> None:
    def make(seconds: float) -> str:
        with patience.standing():
            time.sleep(seconds)
        return "made"

    patience = Patience(0.2, make)
    assert patience(0.6) == "made"
    patience.close()


def test_an_image_that_hangs_takes_no_memory_from_those_that_wait() -> None:
    hung, budget = threading.Event(), Budget(100)

    def make(cost: int) -> str:
        with ExitStack() as borrowed:
            with patience.standing():
                give_up = borrowed.enter_context(budget.lent(cost, f"one of {cost}"))
            patience.if_given_up(give_up)
            if cost == 60:
                hung.wait(60)
            return "made"

    patience = Patience(0.3, make)
    with ThreadPoolExecutor(3) as pool:
        late = pool.submit(patience, 60)
        time.sleep(0.1)
        large, small = pool.submit(patience, 70), pool.submit(patience, 40)
        with pytest.raises(ImageError, match=r"took longer than 0\.3 s"):
            late.result(10)
        with pytest.raises(ImageError, match=r"one of 70 needs .*, of which photos that took too long hold"):
            large.result(10)
        assert small.result(10) == "made"
        hung.set()
        until = time.monotonic() + 10
        while budget._lost and time.monotonic() < until:
            time.sleep(0.01)
        assert pool.submit(patience, 100).result(10) == "made"  # all of it is there again
    patience.close()


def test_not_more_than_some_are_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("declip_rt.images.patience.MOST_GIVEN_UP", 2)
    hung = threading.Event()
    patience = Patience[int, bool](0.05, lambda _: hung.wait(60))
    found = []
    for i in range(4):
        with pytest.raises(ImageError) as caught:
            patience(i)
        found.append(caught.value.reason)
    assert found == 2 * ["took longer than 0.05 s (--timeout)"] + 2 * [
        "not tried: 2 images that took too long are still in work (--timeout)"
    ]
    hung.set()
    time.sleep(0.2)
    assert Patience[int, bool](5, lambda _: True)(0)
    assert patience(0)
    patience.close()


def test_any_time_is_a_time() -> None:
    for seconds in (float("inf"), 1e12):
        patience = Patience(seconds, abs)
        assert patience(-1) == 1
        patience.close()


def test_errors_come_as_they_are_and_hold_nothing() -> None:
    class Large:
        pass

    def make(item: Large) -> None:
        raise ImageError("broken")

    patience = Patience[Large, None](5, make)
    item = Large()
    with pytest.raises(ImageError, match="broken") as caught:
        patience(item)
    assert not any(value is item for value in vars(caught.value).values())
    patience.close()


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_time_is_above_0(seconds: float) -> None:
    with pytest.raises(ConfigError, match="`timeout` must be above 0 seconds"):
        Scorer(device="cpu", timeout=seconds)
