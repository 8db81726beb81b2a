"""A distortion keeps the photo's shape, and harms it more the stronger it is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from declip_rt.errors import ConfigError
from train.distortions import KINDS, QUALITIES, STRENGTHS, Distortion, compression, distort, ladder

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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("blocked", "double", "dithered")])
def test_strengths_start_where_people_begin_to_see(kind: str) -> None:
    """Those left out come in whole blocks, pixels, or palettes, the least of which can be seen."""
    nearly = distort(RGB, Distortion(kind, 1e-3), np.random.default_rng(4)).astype(float)
    just = distort(RGB, Distortion(kind, 1), np.random.default_rng(4)).astype(float)
    assert np.abs(nearly - RGB).mean() < 3, "strength 0 is nothing"
    assert 0 < np.abs(just - RGB).mean() < 13
    assert np.abs(just - RGB).mean() > np.abs(nearly - RGB).mean()


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_a_ladder_has_the_qualities_that_it_names(kind: str) -> None:
    steps = ladder(kind)
    assert [step.strength for step in steps] == sorted({step.strength for step in steps})
    rng, encode = np.random.default_rng(0), getattr(compression, kind)
    for step, quality in zip(steps, QUALITIES, strict=True):
        assert 0 < step.strength <= STRENGTHS[-1]
        assert np.array_equal(distort(RGB, step, rng), encode(RGB, quality, rng))


def test_a_codec_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda codec: False)
    with pytest.raises(ConfigError, match=r"AVIF: pip install"):
        distort(RGB, Distortion("avif", 3), np.random.default_rng(0))
    compression._heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ConfigError, match="pip install pillow-heif"):
        distort(RGB, Distortion("heic", 3), np.random.default_rng(0))
