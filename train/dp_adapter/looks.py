"""Looks: absolute targets for how a photo looks, so that any two photos under one look share what can be measured."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter

from train.distortions import RGB

Pixels = NDArray[np.float32]  # (S, S, 3), in [0, 1]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
STRETCH = 8.0  # by which chroma grows at most: a grey photo has none
SOFTEST = 3.0  # the deviation of the strongest blur, in pixels of a picture of 32
ATTRIBUTES = ("brightness", "colorfulness", "sharpness", "noise")
RIPPLE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # Immerkær 1996: blind to edges and ramps


@dataclass(frozen=True)
class Look:
    """Targets for a photo of any content, in the units of `attributes` where they are among these."""

    luminance: float  # the mean of luma, in [0, 1]
    contrast: float  # the deviation of luma
    colorfulness: float
    hue: float  # of the cast, in radians
    cast: float  # added in the direction of `hue`
    sharpness: float  # before noise; a photo that is softer stays so
    noise: float  # the deviation
    quality: int  # of the JPEG that the picture went through

    @classmethod
    def draw(cls, rng: np.random.Generator, side: int) -> Look:
        """One for pictures of `side` pixels; a third of the looks has no noise."""
        return cls(
            luminance=rng.uniform(0.25, 0.7),
            contrast=rng.uniform(0.12, 0.22),
            colorfulness=rng.uniform(0.03, 0.3),
            hue=rng.uniform(0, 2 * np.pi),
            cast=rng.uniform(0, 0.08),
            sharpness=rng.uniform(0.15, 0.5) * (32 / side) ** 0.5,  # neighbours differ less in larger pictures
            noise=rng.uniform(0.02, 0.1) if rng.random() < 2 / 3 else 0.0,
            quality=int(rng.integers(30, 96)),
        )


def dress(photo: Pixels, look: Look, rng: np.random.Generator) -> RGB:
    """The photo under a look: uint8 (S, S, 3). Only its noise is drawn."""
    soft = _softened(photo, look.sharpness)
    luma = soft @ LUMA
    chroma = soft - luma[..., None]
    toned = look.luminance + (luma - luma.mean()) * (look.contrast / max(float(luma.std()), 1e-3))
    grain = look.noise * rng.standard_normal(photo.shape, np.float32)
    cast = look.cast * _tint(look.hue)

    def coloured(scale: float) -> Pixels:
        return np.clip(toned[..., None] + scale * chroma + cast + grain, 0, 1)

    scale = _solved(lambda scale: _colorfulness(coloured(scale)), look.colorfulness, STRETCH)
    return _compressed((coloured(scale) * 255).round().astype(np.uint8), look.quality)


def attributes(picture: RGB) -> NDArray[np.float64]:
    """What can be measured of a picture's look, in the order of ATTRIBUTES; higher is more."""
    rgb = picture.astype(np.float32) / 255
    luma = rgb @ LUMA
    noise = np.abs(convolve(luma, RIPPLE)[1:-1, 1:-1]).mean()
    return np.array([luma.mean(), _colorfulness(rgb), _sharpness(luma), noise], float)


def layout(pictures: NDArray[np.uint8], cells: int = 8) -> NDArray[np.float64]:
    """Where a picture is light and dark, whatever its look: (N, S, S, 3) -> (N, cells²), of mean 0 and norm 1."""
    count, side = pictures.shape[:2]
    luma = pictures.astype(np.float64) @ LUMA
    blocks = luma.reshape(count, cells, side // cells, cells, side // cells).mean((2, 4)).reshape(count, -1)
    centred = blocks - blocks.mean(1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)


def _colorfulness(rgb: Pixels) -> float:
    """Hasler & Süsstrunk 2003."""
    red_green, yellow_blue = rgb[..., 0] - rgb[..., 1], (rgb[..., 0] + rgb[..., 1]) / 2 - rgb[..., 2]
    spread, middle = (np.hypot(f(red_green), f(yellow_blue)) for f in (np.std, np.mean))
    return float(spread + 0.3 * middle)


def _sharpness(luma: NDArray[np.float32]) -> float:
    """How much neighbours differ, as a share of how much all pixels do: contrast by itself is no sharpness."""
    steps = np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean()
    return float(steps / (luma.std() + 0.02))


def _softened(photo: Pixels, sharpness: float) -> Pixels:
    def blurred(amount: float) -> Pixels:
        return gaussian_filter(photo, (amount, amount, 0), mode="reflect") if amount else photo

    most = SOFTEST * len(photo) / 32
    return blurred(_solved(lambda amount: -_sharpness(blurred(amount) @ LUMA), -sharpness, most))


def _solved(rising: Callable[[float], float], target: float, most: float) -> float:
    """Where a rising function of [0, most] has a value, or the end that is nearest to it."""
    low, high = 0.0, most
    if rising(low) >= target:
        return low
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return high


def _tint(hue: float) -> NDArray[np.float32]:
    """A colour without luma."""
    colour = np.cos(hue - np.array([0, 2, 4], np.float32) * np.pi / 3)
    return (colour - colour @ LUMA).astype(np.float32)


def _compressed(picture: RGB, quality: int) -> RGB:
    with io.BytesIO() as file:
        Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=0)
        return np.asarray(Image.open(file).convert("RGB"))
