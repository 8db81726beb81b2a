"""Bytes to RGB uint8 pixels."""

from __future__ import annotations

import io
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from declip_rt.errors import ImageError

RGB: TypeAlias = NDArray[np.uint8]  # (H, W, 3)
MAX_PIXELS = 178_956_970  # Pillow's own limit for an error


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> RGB:
    """The first frame of an encoded image, upright, as RGB uint8 (H, W, 3).

    EXIF orientation is applied, 16-bit greyscale scaled to 8 bits, and transparency laid over white. The pixel count
    is checked before pixels are allocated.

    Raises:
        ImageError: empty, not an image, truncated, corrupt, or larger than `max_pixels`.
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise ImageError(f"more than {max_pixels:,} pixels; shrink it first") from error
    except UnidentifiedImageError as error:
        raise ImageError("not an image, or of a format that Pillow does not read") from error
    except Exception as error:
        raise ImageError(f"corrupt header: {error}") from error
    with image:
        if image.width * image.height > max_pixels:
            raise ImageError(f"{image.width}x{image.height} is more than {max_pixels:,} pixels; shrink it first")
        return from_pil(image)


def from_pil(image: Image.Image) -> RGB:
    """The same for an image that Pillow has opened, whatever its mode. Raises ImageError."""
    try:
        image.load()
        return np.asarray(_rgb(_upright(image)))
    except ImageError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly anything on corrupt data
        raise ImageError(f"corrupt or truncated: {error}") from error


def from_array(array: NDArray[np.uint8]) -> RGB:
    """Checks that the array is RGB uint8 (H, W, 3). Raises ImageError."""
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ImageError(f"an array must be RGB uint8 (H, W, 3); this one is {array.dtype} {array.shape}")
    return array


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing about the pixels
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError("32-bit integer pixels have no defined white; convert it to 8 or 16 bits")
        return Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined white; convert it to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
