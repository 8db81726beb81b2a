"""Cuts, freezes and black."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.video import clips
from tests.video.test_reader import read, seen


def frames(*parts: tuple[str, int]) -> list[np.ndarray]:
    """Pictures in a row: "moving", "still" or "black", and how many."""
    made: list[np.ndarray] = []
    moving = iter(clips.scenes(20, names=["chelsea"]))
    for kind, count in parts:
        for _ in range(count):
            made.append(np.zeros_like(made[0]) if kind == "black" else made[-1] if kind == "still" else next(moving))
    return made


def test_a_freeze(tmp_path: Path) -> None:
    clips.write(tmp_path / "freeze.mp4", frames(("moving", 50), ("still", 50), ("moving", 50)))
    _, reader = read(tmp_path / "freeze.mp4")
    assert seen(reader) == [("freeze", 1.96, 4)]
    times, _ = read(tmp_path / "freeze.mp4", every="auto")
    assert [each for each in times if 3.4 < each < 4.6] == [3.48, 3.72, 4, 4.24, 4.48]


def test_a_slow_rate_is_no_freeze(tmp_path: Path) -> None:
    clips.write(tmp_path / "slow.mp4", list(clips.scenes(3, names=["coffee"]))[::10], fps=1)
    times, reader = read(tmp_path / "slow.mp4")
    assert times == list(range(8))
    assert [each for each in seen(reader) if each[0] == "freeze"] == []


def test_a_freeze_and_black_that_last_to_the_end(tmp_path: Path) -> None:
    clips.write(tmp_path / "freeze.mp4", frames(("moving", 50), ("still", 25)))
    assert seen(read(tmp_path / "freeze.mp4")[1]) == [("freeze", 1.96, 3)]
    clips.write(tmp_path / "black.mp4", frames(("moving", 50), ("black", 25)))
    assert seen(read(tmp_path / "black.mp4")[1]) == [("scene", 2, 2), ("black", 2, 3)]


def test_still_photos_in_a_row_are_freezes_of_their_own(tmp_path: Path) -> None:
    slides = [clips.photo(name, 320, 180) for name in ("coffee", "chelsea") for _ in range(50)]
    clips.write(tmp_path / "slides.mp4", slides)
    first, cut, second = seen(read(tmp_path / "slides.mp4")[1])
    assert (first[0], first[2]) == ("freeze", 2)
    assert cut == ("scene", 2, 2)
    assert (second[0], second[2]) == ("freeze", 4)


def test_black_is_no_freeze_besides(tmp_path: Path) -> None:
    clips.write(tmp_path / "black.mp4", frames(("moving", 50), ("black", 50), ("moving", 50)))
    assert [each for each in seen(read(tmp_path / "black.mp4")[1]) if each[0] != "scene"] == [("black", 2, 4)]


def test_motion_from_the_first_picture_is_no_cut(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (180, 500, 3), dtype=np.uint8)
    clips.write(tmp_path / "noise.mp4", clips.panned(noise, 320, 180, 20, step=9))
    assert seen(read(tmp_path / "noise.mp4")[1]) == []


LIGHTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "dimmed": lambda rgb: rgb * 0.25,
    "lifted": lambda rgb: 160 + rgb * 0.35,
    "darker midtones": lambda rgb: 255 * (rgb / 255) ** 2.2,
}


@pytest.mark.parametrize("light", LIGHTS)
def test_a_change_of_the_light_is_no_cut(light: str, tmp_path: Path) -> None:
    bright = list(clips.scenes(6))  # cuts at 2 and 4 s
    lit = [LIGHTS[light](each).astype(np.uint8) if 25 <= at < 40 else each for at, each in enumerate(bright)]
    clips.write(tmp_path / "lit.mp4", lit)
    assert seen(read(tmp_path / "lit.mp4")[1]) == [("scene", 2, 2), ("scene", 4, 4)]
    times, _ = read(tmp_path / "lit.mp4", every="auto")
    assert {0.72, 1.0, 1.24, 1.48, 1.72} <= set(times)  # but it is looked at
