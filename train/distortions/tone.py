"""Faults of light: brightness, exposure, contrast."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from train.distortions.kind import LUMA, RGB, clip

LEVELS = np.arange(256, dtype=np.float32)


def darken(rgb: RGB, factor: float, rng: np.random.Generator) -> RGB:
    if rng.random() < 0.5:
        return clip(rgb.astype(np.float32) * factor)
    return clip(255 * (rgb.astype(np.float32) / 255) ** (1 / factor**0.8))


def brighten(rgb: RGB, gamma: float, rng: np.random.Generator) -> RGB:
    return clip(255 * (LEVELS / 255) ** gamma)[rgb]


def underexpose(rgb: RGB, stops: float, rng: np.random.Generator) -> RGB:
    """Less light before the camera's gamma; shadows drown in black."""
    return clip(LEVELS * 2 ** (-stops / 2.2) - 3 * stops)[rgb]


def shift(rgb: RGB, amount: float, rng: np.random.Generator) -> RGB:
    """All levels higher, or all lower."""
    return clip(LEVELS + amount * rng.choice([-1, 1]))[rgb]


def overexpose(rgb: RGB, factor: float, rng: np.random.Generator) -> RGB:
    return clip(rgb.astype(np.float32) * factor)


def scale_contrast(rgb: RGB, factor: float, rng: np.random.Generator) -> RGB:
    mean = rgb.mean(dtype=np.float32)
    return clip(mean + (rgb - mean) * factor)


def band(rgb: RGB, step: float, rng: np.random.Generator) -> RGB:
    """Slow gradients become stairs; texture stays on them."""
    slow = np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(2))) @ LUMA
    return clip(rgb + (np.round(slow / step) * step - slow)[..., None])


def haze(rgb: RGB, share: float, rng: np.random.Generator) -> RGB:
    """A light veil, thicker towards the top, where the distance is."""
    veil, slope = rng.uniform((200, 0.0), (240, 0.5))
    depth = 1 - slope * np.arange(rgb.shape[0], dtype=np.float32)[:, None, None] / rgb.shape[0]
    return clip(rgb + np.float32(share) * depth * (np.float32(veil) - rgb))


def vignette(rgb: RGB, stops: float, rng: np.random.Generator) -> RGB:
    """Darker towards the corners, by `stops` at the middle of the edges."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in rgb.shape[:2])
    return clip(rgb * np.exp2(-stops * (y[:, None] ** 2 + x[None, :] ** 2))[..., None])
