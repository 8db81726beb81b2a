"""Offsets in time are found by how pictures change, and pictures go with those nearest in time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from declip_rt.video.alignment import REACH, Changes, Offset, find_offset, nearest
from declip_rt.video.sampling import Picture

RNG = np.random.default_rng(0)
MOTION = np.convolve(RNG.gamma(2, 3, 404), np.ones(5) / 5, "valid")  # each 40 ms; what moves goes on to move


def changes(begin: float, fps: float, seconds: float = 8.0) -> Changes:
    """Of a video that begins `begin` seconds into the motion."""
    times = np.arange(0, seconds, 1 / fps)
    return Changes(times, np.interp(times + begin, np.arange(len(MOTION)) / 25, MOTION))


@pytest.mark.parametrize("late", [-1.96, -0.48, -0.04, 0.0, 0.04, 0.52, 1.96])
def test_an_offset_is_found_to_the_picture(late: float) -> None:
    found = find_offset(changes(2, 25), changes(2 - late, 25))
    assert found.seconds == pytest.approx(late, abs=0.001)
    assert found.correlation == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("fps", [12.5, 24, 50])
def test_it_is_found_at_another_frame_rate(fps: float) -> None:
    assert find_offset(changes(2, 25), changes(1.4, fps)).seconds == pytest.approx(0.6, abs=0.03)


def test_what_is_not_alike_gets_none() -> None:
    other = Changes(changes(0, 25).times, RNG.gamma(2, 3, 200))
    found = find_offset(changes(0, 25), other)
    assert (found.seconds, found.is_sure) == (0, False)
    beyond = find_offset(changes(3, 25), changes(3 - REACH - 0.5, 25))
    assert (beyond.seconds, beyond.is_sure) == (0, False)


def test_a_still_or_a_single_picture_has_none() -> None:
    still = Changes(np.arange(100) / 25, np.zeros(100))
    assert find_offset(still, still) == Offset(0, 0)
    one = Changes.of([(0.0, 0.0)])
    assert not find_offset(one, one).is_sure


def pictures(times: list[float]) -> list[Picture]:
    edges = [*times, times[-1] + 0.04]
    return [Picture(None, time, until) for time, until in pairwise(edges)]  # type: ignore[arg-type]


def pairs(source: list[float], encode: list[float], offset: float = 0.0) -> list[tuple[float, float]]:
    return [(one.time, other.time) for one, other in nearest(pictures(source), pictures(encode), offset)]


def test_each_picture_goes_with_the_nearest_in_time() -> None:
    assert pairs([0, 0.1, 0.2], [0, 0.04, 0.09, 0.16, 0.21]) == [(0, 0), (0.1, 0.09), (0.2, 0.21)]
    assert pairs([0, 0.1, 0.2], [0, 0.3, 0.4, 0.5], 0.3) == [(0, 0.3), (0.1, 0.4), (0.2, 0.5)]


def test_before_the_beginning_and_behind_the_end_there_is_none() -> None:
    times = [i / 25 for i in range(50)]
    late = pairs(times, times, -0.4)
    assert late[0] == (pytest.approx(0.4), 0)
    assert all(one - other == pytest.approx(0.4) for one, other in late)
    early = pairs(times, times, 0.4)
    assert early[-1] == (pytest.approx(1.56), pytest.approx(1.96))
    assert pairs(times, [0.0], 3) == []


def test_a_picture_that_stands_goes_with_several() -> None:
    assert pairs([0, 0.1, 0.2, 0.3, 0.4], [0, 0.4]) == [(0, 0), (0.1, 0), (0.2, 0), (0.3, 0.4), (0.4, 0.4)]
