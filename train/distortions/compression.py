"""Lossy compression, by the real encoders."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from train.distortions.kind import RGB


def jpeg(rgb: RGB, quality: float, rng: np.random.Generator) -> RGB:
    return _through(rgb, "JPEG", quality=round(quality))


def jpeg2000(rgb: RGB, rate: float, rng: np.random.Generator) -> RGB:
    return _through(rgb, "JPEG2000", quality_mode="rates", quality_layers=[rate], irreversible=True)


def webp(rgb: RGB, quality: float, rng: np.random.Generator) -> RGB:
    return _through(rgb, "WEBP", quality=round(quality), method=2)


def _through(rgb: RGB, codec: str, **settings: Any) -> RGB:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, codec, **settings)
    return np.asarray(Image.open(buffer).convert("RGB"))
