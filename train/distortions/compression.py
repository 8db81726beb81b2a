"""Lossy compression, by the real encoders."""

from __future__ import annotations

import io
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image, features

from declip_rt.errors import ConfigError
from train.distortions.kind import RGB

SPEED, PRESET = 9, "ultrafast"  # of AVIF (0 to 10) and HEVC: their blocks look alike at all speeds


def jpeg(rgb: RGB, quality: float, rng: np.random.Generator) -> RGB:
    return _through(rgb, "JPEG", quality=round(quality))


def jpeg2000(rgb: RGB, rate: float, rng: np.random.Generator) -> RGB:
    return _through(rgb, "JPEG2000", quality_mode="rates", quality_layers=[rate], irreversible=True)


def webp(rgb: RGB, quality: float, rng: np.random.Generator) -> RGB:
    return _through(rgb, "WEBP", quality=round(quality), method=2)


def avif(rgb: RGB, quality: float, rng: np.random.Generator) -> RGB:
    """Raises ConfigError where Pillow lacks the codec."""
    if not features.check("avif"):
        raise ConfigError("this Pillow cannot write AVIF: pip install -U 'pillow>=11.3', from a wheel")
    return _through(rgb, "AVIF", quality=round(quality), speed=SPEED, max_threads=1)


def heic(rgb: RGB, quality: float, rng: np.random.Generator) -> RGB:
    """HEVC, as phones keep photos. Raises ConfigError where pillow-heif is not there, or cannot write."""
    heif = _heif()
    buffer = io.BytesIO()
    heif.from_pillow(Image.fromarray(rgb)).save(buffer, quality=round(quality), enc_params={"preset": PRESET})
    return np.asarray(heif.read_heif(buffer).to_pillow().convert("RGB"))


@cache
def _heif() -> ModuleType:
    try:
        import pillow_heif
    except ImportError as error:
        raise ConfigError("HEIC needs pillow-heif: pip install pillow-heif") from error
    if not pillow_heif.libheif_info()["HEIF"]:
        raise ConfigError(
            "this pillow-heif has no HEVC encoder: pip install --force-reinstall pillow-heif, from a wheel"
        )
    return pillow_heif


def _through(rgb: RGB, codec: str, **settings: Any) -> RGB:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, codec, **settings)
    return np.asarray(Image.open(buffer).convert("RGB"))
