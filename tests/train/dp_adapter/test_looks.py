"""Looks are absolute: what is measured of a dressed photo comes from the look, not from the photo."""

import dataclasses

import numpy as np
import pytest

from train.dp_adapter.looks import ATTRIBUTES, Look, attributes, dress, layout

PLAIN = Look(luminance=0.5, contrast=0.15, colorfulness=0.15, hue=0.0, cast=0.0, sharpness=0.3, noise=0.0, quality=95)


def photos(count: int = 8) -> list[np.ndarray]:
    """Blocks of colour with fine detail, (32, 32, 3) in [0, 1]; some are dark, some pale."""
    made = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        blocks = np.kron(rng.random((4, 4, 3)), np.ones((8, 8, 1)))
        made.append(np.clip(rng.uniform(0.3, 1) * blocks + 0.1 * rng.random((32, 32, 3)), 0, 1).astype(np.float32))
    return made


def measured(look: Look, **changes: float) -> np.ndarray:
    """The attributes of each photo under a look."""
    changed = dataclasses.replace(look, **changes)
    return np.stack([attributes(dress(photo, changed, np.random.default_rng(0))) for photo in photos()])


def test_all_photos_get_the_brightness_and_the_colorfulness_of_the_look():
    found = measured(PLAIN, luminance=0.4, colorfulness=0.2)
    assert found[:, 0] == pytest.approx(0.4, abs=0.02)
    assert found[:, 1] == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    ("place", "target", "low", "high"),
    [
        (0, "luminance", 0.3, 0.6),
        (1, "colorfulness", 0.05, 0.25),
        (2, "sharpness", 0.15, 0.35),
        (3, "noise", 0.0, 0.1),
    ],
)
def test_an_attribute_is_of_the_look_and_not_of_the_photo(place: int, target: str, low: float, high: float):
    less, more = (measured(PLAIN, **{target: value})[:, place] for value in (low, high))
    assert more.min() > less.max(), ATTRIBUTES[place]


def test_a_look_gives_the_same_picture_again():
    look = Look.draw(np.random.default_rng(3), 32)
    one, two = (dress(photos()[0], look, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(one, two)


def test_a_grey_photo_and_an_even_one_stay_finite():
    for photo in (np.full((16, 16, 3), 0.5, np.float32), np.zeros((16, 16, 3), np.float32)):
        assert np.isfinite(attributes(dress(photo, PLAIN, np.random.default_rng(0)))).all()


def test_attributes_of_pictures_made_by_hand():
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    assert attributes(black)[:2] == pytest.approx([0, 0])
    assert attributes(white)[:2] == pytest.approx([1, 0], abs=1e-6)
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    assert attributes(red)[1] == pytest.approx(0.3 * np.hypot(1, 0.5))


def test_a_layout_does_not_depend_on_the_look():
    looks = [Look.draw(np.random.default_rng(seed), 32) for seed in range(6)]
    found = np.stack([layout(np.stack([dress(p, look, np.random.default_rng(0)) for p in photos()])) for look in looks])
    alike = np.einsum("apc,bqc->abpq", found, found)
    assert (alike.argmax(-1) == np.arange(8)).all()
