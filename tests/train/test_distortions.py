"""A distortion keeps the photo's shape, and harms it more the stronger it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train.distortions import KINDS, STRENGTHS, Distortion, distort

PHOTO = Image.open(Path(__file__).parents[2] / "examples" / "photos" / "chelsea.jpg")
RGB = np.asarray(PHOTO.resize((181, 121), Image.Resampling.BOX))


@pytest.mark.parametrize("kind", KINDS)
def test_shape_type_and_repeatability(kind: str) -> None:
    once = distort(RGB, Distortion(kind, 2.5), np.random.default_rng(1))
    again = distort(RGB, Distortion(kind, 2.5), np.random.default_rng(1))
    assert (once.shape, once.dtype) == (RGB.shape, np.uint8)
    assert np.array_equal(once, again)


@pytest.mark.parametrize("kind", KINDS)
def test_it_grows_with_its_strength(kind: str) -> None:
    harm = [
        np.abs(distort(RGB, Distortion(kind, strength), np.random.default_rng(4)).astype(float) - RGB).mean()
        for strength in STRENGTHS
    ]
    assert harm == sorted(harm)
    assert harm[-1] > 2 * harm[0] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_does_not_depend_on_the_strength(kind: str) -> None:
    drawn = []
    for strength in (0.3, 5):
        rng = np.random.default_rng(4)
        distort(RGB, Distortion(kind, strength), rng)
        drawn.append(rng.random())
    assert len(set(drawn)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_any_size_will_do(kind: str) -> None:
    for height, width in ((1, 1), (1, 9), (17, 2), (33, 31)):
        for strength in (0.2, 5):
            made = distort(RGB[:height, :width], Distortion(kind, strength), np.random.default_rng(0))
            assert made.shape == (height, width, 3)


def test_what_each_kind_does() -> None:
    rng = np.random.default_rng(0)

    def strong(kind: str) -> np.ndarray:
        return distort(RGB, Distortion(kind, 5), rng).astype(float)

    assert strong("dark").mean() < 0.5 * RGB.mean()
    assert strong("overexposed").mean() > 1.2 * RGB.mean()
    assert strong("flat").std() < 0.5 * RGB.std()
    assert np.ptp(strong("pale"), axis=2).max() <= 1
    for kind in ("blur", "motion_blur", "pixelate"):
        assert np.abs(np.diff(strong(kind), axis=1)).mean() < 0.7 * np.abs(np.diff(RGB.astype(float), axis=1)).mean()
    assert np.abs(np.diff(strong("noise"), axis=1)).mean() > 2 * np.abs(np.diff(RGB.astype(float), axis=1)).mean()
    red, _, blue = np.moveaxis(strong("warm") - RGB, 2, 0)
    assert red.mean() > 0 > blue.mean()
    red, _, blue = np.moveaxis(strong("cold") - RGB, 2, 0)
    assert red.mean() < 0 < blue.mean()
    assert len(np.unique(strong("dithered").reshape(-1, 3), axis=0)) <= 5


def test_a_shallow_depth_of_field_leaves_its_subject_sharp() -> None:
    for seed in range(20):
        sharp = (distort(RGB, Distortion("shallow", 5), np.random.default_rng(seed)) == RGB).all(2)
        middle = np.argwhere(sharp).mean(0) / sharp.shape
        assert 0.1 < sharp.mean() < 0.4
        assert (abs(middle - 0.5) < 0.25).all()
