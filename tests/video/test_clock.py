"""Seconds by timestamps."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from declip_rt.video.clock import Clock


def told(stamps: list[float | None], jumps: bool = True) -> tuple[list[float], list[float]]:
    """The seconds of pictures at these times in milliseconds, and where the clock saw jumps."""
    clock = Clock(frame=0.04, jumps=jumps)
    times = []
    for stamp in stamps:
        frame = av.VideoFrame(16, 16)
        frame.time_base = Fraction(1, 1000)
        frame.pts = None if stamp is None else round(stamp)
        times.append(clock.tell(frame))
    return pytest.approx(times), [each.start for each in clock.events]


def test_the_first_picture_is_the_start() -> None:
    assert told([-80, -40, 0]) == ([0, 0.04, 0.08], [])
    assert told([90_000, 90_040]) == ([0, 0.04], [])


def test_uneven_steps_stay() -> None:
    assert told([0, 33, 400, 3400, 3401]) == ([0, 0.033, 0.4, 3.4, 3.401], [])


def test_timestamps_that_start_again_go_on() -> None:
    assert told([0, 40, 960, 0, 40]) == ([0, 0.04, 0.96, 1.0, 1.04], [1.0])


def test_those_that_jump_ahead_go_on_where_they_may_jump() -> None:
    assert told([0, 40, 60_000, 60_040]) == ([0, 0.04, 0.08, 0.12], [0.08])
    assert told([0, 40, 60_000], jumps=False) == ([0, 0.04, 60], [])


def test_pictures_out_of_order_stay_where_they_are() -> None:
    assert told([0, 40, 120, 80, 160]) == ([0, 0.04, 0.12, 0.12, 0.16], [])


def test_bare_streams_are_counted() -> None:
    assert told([None, None, None]) == ([0, 0.04, 0.08], [])
