"""Distortions of known kind and strength, applied to RGB uint8 photos.

A strength runs from 0 (nothing) to 5 (extreme) and may lie between; the five whole strengths follow the idea of
KADID-10k's levels (Lin et al., 2019).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

RGB = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True)
class Distortion:
    """`kind` at `strength` in (0, 5]."""

    kind: str
    strength: float


def distort(rgb: RGB, distortion: Distortion, rng: np.random.Generator) -> RGB:
    """The distorted photo, of the same shape."""
    function, levels = KINDS[distortion.kind]
    return function(rgb, float(np.interp(distortion.strength, range(6), levels)), rng)


def _clip(values: NDArray[np.float32]) -> RGB:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def _blur(rgb: RGB, sigma: float, rng: np.random.Generator) -> RGB:
    return np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(sigma)))


def _motion_blur(rgb: RGB, length: float, rng: np.random.Generator) -> RGB:
    angle = rng.uniform(0, np.pi)
    steps = max(2, round(length) + 1)
    offsets = np.linspace(-length / 2, length / 2, steps)
    pad = int(length) + 2
    padded = np.pad(rgb, ((pad, pad), (pad, pad), (0, 0)), mode="edge").astype(np.float32)
    height, width = rgb.shape[:2]
    total = np.zeros(rgb.shape, np.float32)
    for offset in offsets:
        y, x = pad + round(offset * np.sin(angle)), pad + round(offset * np.cos(angle))
        total += padded[y : y + height, x : x + width]
    return _clip(total / steps)


def _noise(rgb: RGB, sigma: float, rng: np.random.Generator) -> RGB:
    shape = rgb.shape if rng.random() < 0.7 else (*rgb.shape[:2], 1)  # coloured, or grey like film grain
    return _clip(rgb + sigma * rng.standard_normal(shape, dtype=np.float32))


def _jpeg(rgb: RGB, quality: float, rng: np.random.Generator) -> RGB:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=round(quality))
    return np.asarray(Image.open(buffer))


def _pixelate(rgb: RGB, factor: float, rng: np.random.Generator) -> RGB:
    height, width = rgb.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    up = Image.Resampling.NEAREST if rng.random() < 0.5 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(rgb).resize(small, Image.Resampling.BOX).resize((width, height), up))


def _darken(rgb: RGB, factor: float, rng: np.random.Generator) -> RGB:
    if rng.random() < 0.5:
        return _clip(rgb.astype(np.float32) * factor)
    return _clip(255 * (rgb.astype(np.float32) / 255) ** (1 / factor**0.8))


def _overexpose(rgb: RGB, factor: float, rng: np.random.Generator) -> RGB:
    return _clip(rgb.astype(np.float32) * factor)


def _flatten(rgb: RGB, factor: float, rng: np.random.Generator) -> RGB:
    mean = rgb.mean(dtype=np.float32)
    return _clip(mean + (rgb - mean) * factor)


def _saturate(rgb: RGB, factor: float, rng: np.random.Generator) -> RGB:
    grey = rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return _clip(grey[..., None] + (rgb - grey[..., None]) * factor)


def _tint(rgb: RGB, amount: float, rng: np.random.Generator) -> RGB:
    gains = np.ones(3, np.float32)
    gains[rng.integers(3)] += amount
    return _clip(rgb * (gains / gains.mean()))


# kind: function, and its parameter at the strengths 0 to 5
KINDS: dict[str, tuple[Callable[[RGB, float, np.random.Generator], RGB], tuple[float, ...]]] = {
    "blur": (_blur, (0.0, 0.7, 1.2, 2.0, 3.2, 5.5)),  # sigma, pixels
    "motion_blur": (_motion_blur, (0.0, 3.0, 5.0, 8.0, 13.0, 20.0)),  # pixels
    "noise": (_noise, (0.0, 6.0, 12.0, 20.0, 34.0, 56.0)),  # standard deviation, of 255
    "jpeg": (_jpeg, (95.0, 50.0, 30.0, 18.0, 10.0, 5.0)),  # libjpeg quality
    "pixelate": (_pixelate, (1.0, 1.5, 2.0, 3.0, 4.5, 7.0)),  # scale
    "dark": (_darken, (1.0, 0.75, 0.55, 0.4, 0.27, 0.15)),  # gain, or the gamma near it
    "overexposed": (_overexpose, (1.0, 1.3, 1.6, 2.0, 2.6, 3.5)),  # gain
    "flat": (_flatten, (1.0, 0.75, 0.55, 0.4, 0.28, 0.16)),  # contrast
    "pale": (_saturate, (1.0, 0.7, 0.5, 0.3, 0.15, 0.0)),  # chroma
    "garish": (_saturate, (1.0, 1.4, 1.8, 2.4, 3.2, 4.5)),  # chroma
    "tinted": (_tint, (0.0, 0.15, 0.3, 0.5, 0.8, 1.3)),  # gain of one channel over the others
}
