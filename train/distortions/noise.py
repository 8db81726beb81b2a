"""Noise, and what its removal leaves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter

from train.distortions.kind import RGB, clip


def white(rgb: RGB, sigma: float, rng: np.random.Generator) -> RGB:
    """Colored, or grey like film grain."""
    shape = rgb.shape if rng.random() < 0.7 else (*rgb.shape[:2], 1)
    return clip(rgb + sigma * rng.standard_normal(shape, dtype=np.float32))


def chroma(rgb: RGB, sigma: float, rng: np.random.Generator) -> RGB:
    """Noise in Cb and Cr alone."""
    ycc = np.asarray(Image.fromarray(rgb).convert("YCbCr")).astype(np.float32)
    ycc[..., 1:] += sigma * rng.standard_normal((*rgb.shape[:2], 2), dtype=np.float32)
    return np.asarray(Image.fromarray(clip(ycc), "YCbCr").convert("RGB"))


def impulse(rgb: RGB, share: float, rng: np.random.Generator) -> RGB:
    """Salt and pepper."""
    drawn = rng.random(rgb.shape[:2], dtype=np.float32)
    out = rgb.copy()
    out[drawn < share / 2] = 0
    out[drawn > 1 - share / 2] = 255
    return out


def speckle(rgb: RGB, deviation: float, rng: np.random.Generator) -> RGB:
    """Multiplicative noise."""
    return clip(rgb * (1 + deviation * rng.standard_normal(rgb.shape, dtype=np.float32)))


def smeared(rgb: RGB, sigma: float, rng: np.random.Generator) -> RGB:
    """Heavy noise reduction: fine texture goes, strong edges stay (guided filter, He et al., 2013)."""
    size = (7, 7, 1)
    image = rgb.astype(np.float32)
    mean = uniform_filter(image, size)
    variance = np.maximum(uniform_filter(image * image, size) - mean * mean, 0)
    gain = variance / (variance + sigma * sigma + 1e-6)
    return clip(uniform_filter(gain, size) * (image - mean) + mean)


def low_light(rgb: RGB, gain: float, rng: np.random.Generator) -> RGB:
    """Too little light: darker, with the sensor's shot and read noise."""
    drawn: NDArray[np.float32] = rng.standard_normal(rgb.shape, dtype=np.float32)
    signal = gain * rgb.astype(np.float32)
    return clip(signal + drawn * (1 - gain) * np.sqrt(2.5 * signal + 20))
