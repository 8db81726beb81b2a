"""Blur: out of focus, moved, doubled."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.signal import fftconvolve

from train.distortions.kind import RGB, clip


def gaussian(rgb: RGB, sigma: float, rng: np.random.Generator) -> RGB:
    return np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(sigma)))


def lens(rgb: RGB, radius: float, rng: np.random.Generator) -> RGB:
    """The disc that a lens makes of a point out of focus."""
    y, x = _grid(radius)
    return _convolved(rgb, np.clip(radius + 0.5 - np.hypot(y, x), 0, 1))


def motion(rgb: RGB, length: float, rng: np.random.Generator) -> RGB:
    angle = rng.uniform(0, np.pi)
    y, x = _grid(length / 2)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return _convolved(rgb, np.clip((length + 1) / 2 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1))


def shallow(rgb: RGB, radius: float, rng: np.random.Generator) -> RGB:
    """A shallow depth of field: an ellipse stays sharp, the rest falls out of focus."""
    height, width = rgb.shape[:2]
    centre_y, centre_x, size_y, size_x = rng.uniform((0.35, 0.3, 0.22, 0.2), (0.65, 0.7, 0.38, 0.36))
    y, x = (np.arange(side) / side for side in (height, width))
    distance = np.hypot(((y - centre_y) / size_y)[:, None], ((x - centre_x) / size_x)[None, :])
    share = np.clip((distance - 0.9) / 0.5, 0, 1)[..., None].astype(np.float32)
    return clip(rgb + share * (lens(rgb, radius, rng).astype(np.float32) - rgb))


def double(rgb: RGB, offset: float, rng: np.random.Generator) -> RGB:
    """A second, moved exposure over the first."""
    angle = rng.uniform(0, 2 * np.pi)
    ghost = _moved(rgb, round(offset * np.sin(angle)), round(offset * np.cos(angle)))
    return clip(rgb + 0.45 * (ghost.astype(np.float32) - rgb))


def _grid(reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances down (K, 1) and right (1, K) from the middle of the smallest odd square that `reach` fits in."""
    side = np.arange(-math.ceil(reach), math.ceil(reach) + 1.0)
    return side[:, None], side[None]


def _convolved(rgb: RGB, weights: NDArray[np.float64]) -> RGB:
    """Means by `weights` (K, K), K odd; edges are repeated."""
    pad = len(weights) // 2
    planes = np.pad(rgb, ((pad, pad), (pad, pad), (0, 0)), mode="edge").transpose(2, 0, 1).astype(np.float32)
    kernel = (weights / weights.sum()).astype(np.float32)
    return clip(fftconvolve(planes, kernel[None], mode="valid", axes=(1, 2)).transpose(1, 2, 0))


def _moved(rgb: RGB, down: int, right: int) -> NDArray[np.uint8]:
    rows = np.clip(np.arange(rgb.shape[0]) - down, 0, rgb.shape[0] - 1)
    columns = np.clip(np.arange(rgb.shape[1]) - right, 0, rgb.shape[1] - 1)
    return rgb[rows[:, None], columns]
