"""An image that takes too long is an error of its own; what waits for others has all the time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from declip_rt import ConfigError, ImageError, Scorer
from declip_rt.images import sources
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
