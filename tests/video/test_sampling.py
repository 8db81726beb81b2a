"""Which pictures are taken."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from declip_rt.video.sampling import Auto, Grid, Picture


def pictures(times: Sequence[float], end: float) -> list[Picture]:
    return [
        Picture(SimpleNamespace(), time, until)  # type: ignore[arg-type]
        for time, until in zip(times, [*times[1:], end], strict=True)
    ]


def taken(chosen: Grid | Auto, times: Sequence[float], end: float, marks: Sequence[float] = ()) -> list[float]:
    given = []
    for each in pictures(times, end):
        given += chosen.push(each)
        if each.time in marks:
            chosen.mark(each.time)  # type: ignore[union-attr]
    return [each.time for each in given + chosen.flush(end)]


def even(seconds: float, rate: float) -> list[float]:
    return [index / rate for index in range(round(seconds * rate))]


def test_the_picture_that_stands() -> None:
    assert taken(Grid(1.0), [0, 0.95, 5.0, 5.1], 7.0) == [0, 0.95, 5.0 - 0, 5.1]
    assert taken(Grid(1.0), even(3, 25), 3) == [0, 1, 2]


def test_each_picture_once_however_long_it_stands() -> None:
    assert taken(Grid(0.5), [0, 0.1, 9.0], 9.1) == [0, 0.1, 9.0]


@pytest.mark.parametrize("rate", [24, 25, 30, 60, 30_000 / 1001])
def test_every_picture_of_rounded_timestamps(rate: float) -> None:
    times = [round(each, 3) for each in even(4, rate)]  # as Matroska has them
    assert taken(Grid(1 / rate), times, 4) == times


def test_from_a_start() -> None:
    assert taken(Grid(1.0, start=2.5), even(5, 10), 5) == [2.5, 3.5, 4.5]


def test_nothing_beyond_the_end() -> None:
    assert taken(Grid(1.0), even(2.04, 25), 2.0) == [0, 1]


def test_auto_takes_one_a_second_where_nothing_happens() -> None:
    assert taken(Auto(), even(4, 20), 4) == [0, 1, 2, 3]


def test_auto_takes_four_a_second_around_what_happens() -> None:
    assert taken(Auto(), even(6, 20), 6, marks=[3.1]) == [0, 1, 2, 2.75, 3, 3.25, 3.5, 4, 5]


def test_auto_keeps_few() -> None:
    auto = Auto()
    for each in pictures(even(60, 30), 60):
        auto.push(each)
        assert len(auto._kept) <= 4


def test_auto_of_pictures_that_stand() -> None:
    assert taken(Auto(), [0, 0.1, 4.0, 4.1], 6) == [0, 0.1, 4.0, 4.1]
