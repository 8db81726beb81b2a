"""Offsets in time are found by how pictures change, and pictures go with those nearest in time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from declip_rt.video.alignment import REACH, SURE, Course, Offset, find_offset, nearest
from declip_rt.video.sampling import Picture

RNG = np.random.default_rng(0)
PLACES = np.arange(576) / 576
SPEED = np.convolve(RNG.gamma(2, 3, 1004), np.ones(5) / 5, "valid")  # each 40 ms; what moves goes on to move
WAY = np.cumsum(SPEED) / 500


def course(begin: float, fps: float, seconds: float = 8.0, noise: float = 1.0) -> Course:
    """Of a video that begins `begin` seconds into a pan of uneven speed, and is coded with noise."""
    times = np.arange(0, seconds, 1 / fps)
    at = np.interp(times + begin, np.arange(1000) / 25, WAY)
    clean = 127 + 60 * np.sin(6.3 * (at[:, None] + PLACES)) + 40 * np.sin(17 * (at[:, None] + PLACES))
    seen = (clean + RNG.normal(0, noise, clean.shape)).clip(0, 255)
    return Course(times, np.abs(np.diff(clean, axis=0, prepend=clean[:1])).mean(1), seen.astype(np.uint8))


@pytest.mark.parametrize("late", [-1.96, -0.48, -0.04, 0.0, 0.04, 0.52, 1.96])
def test_an_offset_is_found_to_the_picture(late: float) -> None:
    found = find_offset(course(4, 25), course(4 - late, 25))
    assert found.seconds == pytest.approx(late, abs=0.001)
    assert found.correlation == pytest.approx(1, abs=0.001)
    assert found.is_sure


@pytest.mark.parametrize("fps", [12.5, 24, 50])
def test_it_is_found_at_another_frame_rate(fps: float) -> None:
    found = find_offset(course(4, 25), course(3.4, fps))
    assert found.seconds == pytest.approx(0.6, abs=0.041)
    assert found.is_sure


def test_what_is_not_the_same_is_not_sure() -> None:
    other = course(4, 25)
    other = Course(other.times, other.changes, RNG.integers(0, 255, other.pictures.shape, np.uint8))
    for each in (other, course(20, 25)):
        found = find_offset(course(4, 25), each)
        assert (found.seconds, found.is_sure) == (0, False)
    assert not find_offset(course(4, 25), course(4 + REACH + 0.5, 25)).is_sure, "it begins too late"


def test_a_still_or_a_single_picture_has_no_offset() -> None:
    times = np.arange(100) / 25
    still = Course(times, np.zeros(100), np.full((100, 576), 127, np.uint8))
    assert find_offset(still, still) == Offset(0, 0, 0)
    shaky = Course(times, RNG.normal(0, 1, 100) ** 2, still.pictures)
    assert find_offset(shaky, Course(times, RNG.normal(0, 1, 100) ** 2, still.pictures)).seconds == 0
    one = Course(np.zeros(1), np.zeros(1), still.pictures[:1])
    assert find_offset(one, one) == find_offset(one, still) == Offset(0, 0, 0)


def test_a_change_tells_where_pictures_hardly_do() -> None:
    """Two faint lights, each for a picture: they move no mean, but the changes are the same."""
    times, changes = np.arange(100) / 25, np.zeros(100)
    changes[[30, 31, 60, 61]] = 0.5, 0.5, 0.8, 0.8
    still = np.full((100, 576), 127, np.uint8)
    found = find_offset(Course(times, changes, still), Course(times, np.roll(changes, 10), still))
    assert found.seconds == 0.4
    assert found.correlation > SURE


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
