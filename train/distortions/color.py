"""Faults of color."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from train.distortions.kind import LUMA, RGB, clip


def bleed(rgb: RGB, sigma: float, rng: np.random.Generator) -> RGB:
    """Color that spreads over edges: Cb and Cr are blurred."""
    luma, *colors = Image.fromarray(rgb).convert("YCbCr").split()
    spread = [plane.filter(ImageFilter.GaussianBlur(sigma)) for plane in colors]
    return np.asarray(Image.merge("YCbCr", (luma, *spread)).convert("RGB"))


def shift(rgb: RGB, offset: float, rng: np.random.Generator) -> RGB:
    """One channel that lies beside the others."""
    channel, angle = int(rng.choice([0, 2])), rng.uniform(0, 2 * np.pi)
    height, width = rgb.shape[:2]
    rows = np.clip(np.arange(height) - round(offset * np.sin(angle)), 0, height - 1)
    columns = np.clip(np.arange(width) - round(offset * np.cos(angle)), 0, width - 1)
    out = rgb.copy()
    out[..., channel] = rgb[rows[:, None], columns, channel]
    return out


def posterize(rgb: RGB, step: float, rng: np.random.Generator) -> RGB:
    """Few levels a channel."""
    return clip(np.round(rgb.astype(np.float32) / step) * step)


def dither(rgb: RGB, colors: float, rng: np.random.Generator) -> RGB:
    """Few colors, scattered so that their mean is right."""
    image = Image.fromarray(rgb)
    palette = image.quantize(round(colors), Image.Quantize.FASTOCTREE)
    return np.asarray(image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB"))


def saturate(rgb: RGB, factor: float, rng: np.random.Generator) -> RGB:
    grey = (rgb @ LUMA)[..., None]
    return clip(grey + (rgb - grey) * factor)


def tint(rgb: RGB, amount: float, rng: np.random.Generator) -> RGB:
    gains = np.ones(3, np.float32)
    gains[rng.integers(3)] += amount
    return clip(rgb * (gains / gains.mean()))


def temperature(rgb: RGB, amount: float, rng: np.random.Generator) -> RGB:
    """The light of a lamp or, below 0, of the shade: red against blue."""
    gains = np.exp(amount * np.array([1, 0, -1], np.float32))
    return clip(rgb * (gains / (gains @ LUMA)))
