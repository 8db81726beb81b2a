"""A distortion keeps the photo's shape, and harms it more the stronger it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train.distortions import KINDS, Distortion, distort

RGB = np.asarray(Image.open(Path(__file__).parents[2] / "examples" / "photos" / "chelsea.jpg"))


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
        for strength in (1, 2, 3, 4, 5)
    ]
    assert harm == sorted(harm)
    assert harm[-1] > 2 * harm[0] > 0


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
