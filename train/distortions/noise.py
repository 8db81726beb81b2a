"""Noise, and what its removal leaves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.ndimage import uniform_filter

from train.distortions.compression import jpeg
from train.distortions.kind import RGB, clip

BICUBIC = Image.Resampling.BICUBIC
BLOTCH = 5  # pixels


def white(rgb: RGB, sigma: float, rng: np.random.Generator) -> RGB:
    """Colored, or grey like film grain."""
    shape = rgb.shape if rng.random() < 0.7 else (*rgb.shape[:2], 1)
    return clip(rgb + sigma * rng.standard_normal(shape, dtype=np.float32))


def chroma(rgb: RGB, sigma: float, rng: np.random.Generator) -> RGB:
    """Noise in Cb and Cr alone."""
    ycc = np.asarray(Image.fromarray(rgb).convert("YCbCr")).astype(np.float32)
    ycc[..., 1:] += sigma * rng.standard_normal((*rgb.shape[:2], 2), dtype=np.float32)
    return np.asarray(Image.fromarray(clip(ycc), "YCbCr").convert("RGB"))


def blotches(rgb: RGB, sigma: float, rng: np.random.Generator) -> RGB:
    """Coarse noise in Cb and Cr, as phones leave it in shadows."""
    height, width = rgb.shape[:2]
    luma, *colors = Image.fromarray(rgb).convert("YCbCr").split()
    grid = (2, height // BLOTCH + 2, width // BLOTCH + 2)
    stained = [
        Image.fromarray(clip(plane + np.asarray(Image.fromarray(drawn).resize((width, height), BICUBIC))))
        for plane, drawn in zip(colors, sigma * rng.standard_normal(grid, dtype=np.float32), strict=True)
    ]
    return np.asarray(Image.merge("YCbCr", (luma, *stained)).convert("RGB"))


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
    """Noise, and a filter strong enough for it: texture turns to wax, strong edges stay."""
    luma, *colors = Image.fromarray(rgb).convert("YCbCr").split()
    noisy = luma + sigma * rng.standard_normal(rgb.shape[:2], dtype=np.float32)
    smooth = Image.fromarray(clip(_guided(noisy, 1.5 * sigma)))
    spread = [plane.filter(ImageFilter.GaussianBlur(sigma / 8)) for plane in colors]
    return np.asarray(Image.merge("YCbCr", (smooth, *spread)).convert("RGB"))


def _guided(plane: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Flattens what deviates less than `sigma` in plane (H, W), by the guided filter (He et al., 2013)."""
    mean = uniform_filter(plane, 7)
    variance = np.maximum(uniform_filter(plane * plane, 7) - mean * mean, 0)
    gain = variance / (variance + sigma * sigma + 1e-6)
    return uniform_filter(gain, 7) * plane + uniform_filter(mean - gain * mean, 7)


def low_light(rgb: RGB, gain: float, rng: np.random.Generator) -> RGB:
    """Too little light, and what a phone makes of it: shot and read noise, a mild denoiser, JPEG."""
    signal = gain * rgb.astype(np.float32)
    noise = rng.standard_normal(rgb.shape, dtype=np.float32) * np.sqrt(2.5 * signal + 20)
    denoised = Image.fromarray(clip(signal + (1 - gain) * noise)).filter(ImageFilter.GaussianBlur(0.8 * (1 - gain)))
    return jpeg(np.asarray(denoised), 65 + 35 * gain, rng)
