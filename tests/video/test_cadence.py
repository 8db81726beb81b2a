"""Where no pictures come, and where many are missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from declip_rt.video.cadence import Cadence

RATE = 25


def cadence(times: Sequence[float]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Where pictures stood for long, and where some are missing."""
    seen = Cadence()
    for time in times:
        seen.push(time)
    return [(each.start, each.end) for each in seen.stalls], [(each.start, each.end) for each in seen.lost()]


def even(count: int, without: Sequence[int] = ()) -> list[float]:
    return [index / RATE for index in range(count) if index not in without]


def test_even_pictures_are_fine() -> None:
    assert cadence(even(500)) == ([], [])


def test_a_pause_is_a_freeze() -> None:
    assert cadence(even(500, range(101, 150))) == ([(4, 6)], [])


def test_a_slow_rate_is_none() -> None:
    assert cadence([float(each) for each in range(60)]) == ([], [])


def test_every_other_picture_missing_for_two_seconds() -> None:
    assert cadence(even(500, range(101, 151, 2))) == ([], [(4, 6)])


def test_few_that_are_missing_are_no_damage() -> None:
    assert cadence(even(500, [50, 53, 200, 202, 204, 400])) == ([], [])


@pytest.mark.parametrize("left_out", [0.03, 0.1, 0.2, 0.4, 0.7])
def test_a_rate_that_varies_is_no_damage(left_out: float) -> None:
    dice = np.random.default_rng(0)
    assert cadence(even(5000, np.flatnonzero(dice.random(5000) < left_out).tolist()))[1] == []  # type: ignore[arg-type]


def test_pulldown_is_no_damage() -> None:
    steps = np.resize([2 / 60, 3 / 60], 1000)
    assert cadence(np.cumsum(steps).tolist()) == ([], [])
