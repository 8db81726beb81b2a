"""The square views of an image that the model sees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from declip_rt.bundle import Placement, ViewSpec
from declip_rt.decode import RGB


class Box(NamedTuple):
    """A rectangle in source pixels."""

    left: float
    top: float
    right: float
    bottom: float


def write_views(rgb: RGB, spec: ViewSpec, out: NDArray[np.uint8]) -> None:
    """Cuts and resamples (bicubic, antialiased, as Pillow does) the views of rgb (H, W, 3) into out (V, S, S, 3)."""
    height, width = rgb.shape[:2]
    image: Image.Image | None = None
    for view, placement in zip(out, spec.placements, strict=True):
        box = box_of(placement, spec.size, width, height)
        if box.right - box.left == spec.size:  # at the photo's own resolution the view is a copy
            left, top = int(box.left), int(box.top)
            view[...] = rgb[top : top + spec.size, left : left + spec.size]
            continue
        image = image or Image.fromarray(rgb)
        view[...] = np.asarray(image.resize((spec.size, spec.size), Image.Resampling.BICUBIC, box))


def box_of(placement: Placement, size: int, width: int, height: int) -> Box:
    """The square of the source that becomes a view: see Placement."""
    short = min(width, height)
    side = short * size / max(size, min(placement.short_side, short))
    left, top = placement.x * (width - side), placement.y * (height - side)
    if side == size:
        left, top = round(left), round(top)
    return Box(left, top, min(left + side, width), min(top + side, height))
