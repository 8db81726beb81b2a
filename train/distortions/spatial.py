"""Faults of resolution and place."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageFilter

from train.distortions.kind import RGB

MOST = 100  # patches or blocks that are drawn, whatever the amount
PATCH, BLOCK = 16, 8  # parts of the short side that the side of a patch, a block is


def upscale(rgb: RGB, factor: float, rng: np.random.Generator) -> RGB:
    return _rescale(rgb, factor, Image.Resampling.BICUBIC)


def pixelate(rgb: RGB, factor: float, rng: np.random.Generator) -> RGB:
    return _rescale(rgb, factor, Image.Resampling.NEAREST)


def jitter(rgb: RGB, deviation: float, rng: np.random.Generator) -> RGB:
    """Every pixel is taken from a place nearby."""
    height, width = rgb.shape[:2]
    down, right = np.rint(deviation * rng.standard_normal((2, height, width), dtype=np.float32)).astype(np.intp)
    rows = np.clip(np.arange(height)[:, None] + down, 0, height - 1)
    columns = np.clip(np.arange(width) + right, 0, width - 1)
    return rgb[rows, columns]


def patch(rgb: RGB, count: float, rng: np.random.Generator) -> RGB:
    """Small squares that show what lies beside them."""
    side = max(1, min(rgb.shape[:2]) // PATCH)
    out = rgb.copy()
    aside = rng.integers(-side, side + 1, (MOST, 2))
    for (top, left), (down, right) in zip(_places(rgb, side, count, rng), aside, strict=False):
        y, x = np.clip(top + down, 0, rgb.shape[0] - side), np.clip(left + right, 0, rgb.shape[1] - side)
        out[top : top + side, left : left + side] = rgb[y : y + side, x : x + side]
    return out


def block(rgb: RGB, count: float, rng: np.random.Generator) -> RGB:
    """Squares of one color each."""
    side = max(1, min(rgb.shape[:2]) // BLOCK)
    out = rgb.copy()
    colors = rng.integers(0, 256, (MOST, 3), dtype=np.uint8)
    for (top, left), color in zip(_places(rgb, side, count, rng), colors, strict=False):
        out[top : top + side, left : left + side] = color
    return out


def sharpen(rgb: RGB, percent: float, rng: np.random.Generator) -> RGB:
    return np.asarray(Image.fromarray(rgb).filter(ImageFilter.UnsharpMask(1, round(percent), 0)))


def halo(rgb: RGB, percent: float, rng: np.random.Generator) -> RGB:
    """Sharpening so wide that edges glow."""
    return np.asarray(Image.fromarray(rgb).filter(ImageFilter.UnsharpMask(6, round(percent), 0)))


def _places(rgb: RGB, side: int, count: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    """The top left corners of the first `count` squares."""
    drawn = rng.random((MOST, 2)) * (rgb.shape[0] - side + 1, rgb.shape[1] - side + 1)
    return [(int(top), int(left)) for top, left in drawn[: math.ceil(count)]]


def _rescale(rgb: RGB, factor: float, up: Image.Resampling) -> RGB:
    height, width = rgb.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(Image.fromarray(rgb).resize(small, Image.Resampling.BOX).resize((width, height), up))
