"""The square views of an image that the model sees."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from declip_rt import native
from declip_rt.images.decode import RGB
from declip_rt.model.manifest import Placement, ViewSpec


class Box(NamedTuple):
    """A rectangle in source pixels."""

    left: float
    top: float
    right: float
    bottom: float


def write_views(rgb: RGB, spec: ViewSpec, out: NDArray[np.uint8]) -> None:
    """Cuts and resamples (bicubic, antialiased, as Pillow does) the views of rgb (H, W, 3) into out (V, S, S, 3)."""
    height, width = rgb.shape[:2]
    native.resample_into(rgb, boxes(spec, width, height), out)


@lru_cache(native.SIZES_KEPT)
def boxes(spec: ViewSpec, width: int, height: int) -> tuple[Box, ...]:
    """The squares that become the views of an image of this size, in its pixels."""
    return tuple(box_of(placement, spec.size, width, height) for placement in spec.placements)


def least_side(spec: ViewSpec) -> int:
    """The shortest short side, in pixels, that an image may be shrunk to before its views are cut.

    It is twice what the finest view needs, so that the resampling after it still does most of the work.
    """
    return 2 * max(max(spec.size, placement.short_side) for placement in spec.placements)


def box_of(placement: Placement, size: int, width: int, height: int) -> Box:
    """The square of the source that becomes a view: see Placement."""
    short = min(width, height)
    scaled = max(size, min(placement.short_side, short))  # the photo's short side, scaled for this view
    side = short * size / scaled  # of the view, in source pixels
    left, top = placement.x * (width - side), placement.y * (height - side)
    if side == size:  # a photo at its own scale: on whole pixels the view is a copy
        left, top = round(left), round(top)
    return Box(left, top, min(left + side, width), min(top + side, height))
