"""Blur: out of focus, moved, doubled."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from train.distortions.kind import RGB, clip


def gaussian(rgb: RGB, sigma: float, rng: np.random.Generator) -> RGB:
    return np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(sigma)))


def lens(rgb: RGB, radius: float, rng: np.random.Generator) -> RGB:
    """The disc that a lens makes of a point out of focus."""
    pad = int(radius) + 2
    padded = np.pad(rgb, ((pad, pad), (pad, pad), (0, 0)), mode="edge").astype(np.float32)
    shape = [scipy.fft.next_fast_len(side, real=True) for side in padded.shape[:2]]
    y, x = (np.minimum(np.arange(side), side - np.arange(side)) for side in shape)
    disc = np.clip(radius + 0.5 - np.hypot(y[:, None], x[None, :]), 0, 1).astype(np.float32)
    gain = scipy.fft.rfft2(disc / disc.sum())[..., None]
    blurred = scipy.fft.irfft2(scipy.fft.rfft2(padded, shape, axes=(0, 1)) * gain, shape, axes=(0, 1))
    return clip(blurred[pad : pad + rgb.shape[0], pad : pad + rgb.shape[1]])


def motion(rgb: RGB, length: float, rng: np.random.Generator) -> RGB:
    angle = rng.uniform(0, np.pi)
    steps = max(2, round(length) + 1)
    total = np.zeros(rgb.shape, np.float32)
    for offset in np.linspace(-length / 2, length / 2, steps):
        total += _moved(rgb, round(offset * np.sin(angle)), round(offset * np.cos(angle)))
    return clip(total / steps)


def shallow(rgb: RGB, radius: float, rng: np.random.Generator) -> RGB:
    """A shallow depth of field: an ellipse stays sharp, the rest falls out of focus."""
    height, width = rgb.shape[:2]
    centre_y, centre_x, size_y, size_x = rng.uniform((0.35, 0.3, 0.18, 0.15), (0.65, 0.7, 0.32, 0.3))
    y, x = (np.arange(side, dtype=np.float32) / side for side in (height, width))
    distance = np.hypot(((y - centre_y) / size_y)[:, None], ((x - centre_x) / size_x)[None, :])
    share = np.clip((distance - 0.9) / 0.5, 0, 1)[..., None]
    return clip(rgb + share * (lens(rgb, radius, rng).astype(np.float32) - rgb))


def double(rgb: RGB, offset: float, rng: np.random.Generator) -> RGB:
    """A second, moved exposure over the first."""
    angle = rng.uniform(0, 2 * np.pi)
    ghost = _moved(rgb, round(offset * np.sin(angle)), round(offset * np.cos(angle)))
    return clip(rgb + 0.45 * (ghost.astype(np.float32) - rgb))


def _moved(rgb: RGB, down: int, right: int) -> NDArray[np.uint8]:
    rows = np.clip(np.arange(rgb.shape[0]) - down, 0, rgb.shape[0] - 1)
    columns = np.clip(np.arange(rgb.shape[1]) - right, 0, rgb.shape[1] - 1)
    return rgb[rows[:, None], columns]
