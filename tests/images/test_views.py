"""Views are the squares that the spec names, resampled as Pillow does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from declip_rt.images.views import Box, box_of, write_views
from declip_rt.model.manifest import Placement, ViewSpec
from tests.conftest import examples, picture


def views(rgb: np.ndarray, *placements: Placement, size: int = 32) -> np.ndarray:
    spec = ViewSpec(size, placements)
    out = np.zeros(spec.shape, np.uint8)
    write_views(rgb, spec, out)
    return out


def test_a_square_photo_is_pillows_resize() -> None:
    rgb = picture(width=100, height=100)
    expected = Image.fromarray(rgb).resize((32, 32), Image.Resampling.BICUBIC)
    assert np.array_equal(views(rgb, Placement(32))[0], np.asarray(expected))


def test_at_its_own_resolution_a_view_is_a_copy() -> None:
    rgb = picture(width=100, height=60)
    assert np.array_equal(views(rgb, Placement(500, x=1, y=0))[0], rgb[:32, 68:])


def test_placements_move_the_square() -> None:
    assert box_of(Placement(50, x=0, y=0), 50, 400, 200) == Box(0, 0, 200, 200)
    assert box_of(Placement(50, x=1, y=0.5), 50, 400, 200) == Box(200, 0, 400, 200)
    assert box_of(Placement(100, x=0.5, y=0.5), 50, 400, 200) == Box(150, 50, 250, 150)


def test_small_photos_are_enlarged_to_one_view() -> None:
    assert box_of(Placement(512), 224, 20, 10) == Box(5, 0, 15, 10)


@given(st.integers(1, 6000), st.integers(1, 6000), st.integers(1, 600), st.floats(0, 1), st.floats(0, 1))
def test_the_square_stays_inside(width: int, height: int, short_side: int, x: float, y: float) -> None:
    box = box_of(Placement(short_side, x, y), 224, width, height)
    assert 0 <= box.left < box.right <= width
    assert 0 <= box.top < box.bottom <= height
    assert box.right - box.left == pytest.approx(box.bottom - box.top, abs=1e-6)


@given(st.integers(1, 300), st.integers(1, 300))
@examples(30)
def test_every_shape_gives_views(width: int, height: int) -> None:
    flat = np.full((height, width, 3), (10, 200, 90), np.uint8)
    made = views(flat, Placement(32), Placement(64, 0.2, 0.9))
    assert (made == np.array([10, 200, 90])).all()


def test_views_of_a_strided_photo() -> None:
    rgb = picture(width=100, height=80)[::-1, ::-1]
    assert np.array_equal(views(rgb, Placement(32))[0], views(np.ascontiguousarray(rgb), Placement(32))[0])
