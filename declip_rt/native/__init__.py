"""Bicubic resampling, the headers of JPEGs and small luma, in C++. Where it was not built, Pillow and NumPy do it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

try:
    import declip_rt.native._native as _native
except ImportError:  # built without a compiler
    _native = None  # type: ignore[assignment]

RGB: TypeAlias = NDArray[np.uint8]  # (H, W, 3)
LEVELS = ("portable", "AVX2", "AVX-512")  # instructions that the extension can use
SIZES_KEPT = 256  # images of so many sizes have their boxes at hand
Samples: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
LARGEST_FACTOR = 256  # of luma: the sum of so many bytes has 16 bits
LONGEST = 2**23  # pixels of a side: beyond it float32 is too coarse for corners
BoxLike: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom in source pixels


def level() -> str | None:
    """The instructions that the extension uses on this machine: one of LEVELS, or None where Pillow does its work."""
    return None if _native is None else LEVELS[_native.best_level()]


def resample_into(rgb: RGB, boxes: Sequence[BoxLike], out: NDArray[np.uint8]) -> None:
    """Resamples boxes of an image as `PIL.Image.resize((width, height), BICUBIC, box)` does, byte for byte.

    The bytes are those of Pillow 13. It resamples rows first where the height shrinks by more than twice as many
    pixels as the width does. Older versions differ there by rounding.

    rgb: uint8 (H, W, 3) of any strides. It is read once for all boxes. boxes: left, top, right, bottom in source
    pixels, fractions allowed. out: uint8 (len(boxes), height, width, 3), C-contiguous.

    Raises:
        ValueError: rgb or out has another type or shape, or a side beyond LONGEST, a box is empty or leaves the image,
            or out has no pixels.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ValueError(f"an image must be RGB uint8 (H, W, 3); this one is {rgb.dtype} {rgb.shape}")
    if max(rgb.shape) > LONGEST or max(out.shape) > LONGEST:
        raise ValueError(f"a side is longer than {LONGEST:,} pixels: {rgb.shape} to {out.shape}")
    height, width = rgb.shape[:2]
    corners = _corners(tuple(boxes), width, height)
    shaped = out.shape[:1] + out.shape[3:] == (len(boxes), 3) and out.size > 0
    if out.dtype != np.uint8 or not shaped or not out.flags.c_contiguous:
        raise ValueError(f"out must be C-contiguous uint8 ({len(boxes)}, h, w, 3), not {out.dtype} {out.shape}")
    if _native is not None:
        _native.resample_into(rgb, corners, out, _native.best_level())
        return
    image = Image.fromarray(rgb)
    for view, box in zip(out, boxes, strict=True):
        view[...] = np.asarray(image.resize(view.shape[1::-1], Image.Resampling.BICUBIC, box))


@lru_cache(SIZES_KEPT)
def _corners(boxes: tuple[BoxLike, ...], width: int, height: int) -> NDArray[np.float32]:
    """The boxes as float32 (n, 4). Raises ValueError where one is empty or leaves the image."""
    corners = np.array(boxes, np.float32).reshape(-1, 4)  # Pillow rounds them so, too
    for left, top, right, bottom in corners.tolist():
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ValueError(f"the box {(left, top, right, bottom)} is empty or leaves the {width}x{height} image")
    return corners


def read_jpeg(data: bytes) -> tuple[int, int, bool, int, bytes] | None:
    """Of a JPEG's header: width, height, whether it is progressive, the EXIF orientation (1 to 8), the ICC profile.

    None for what readers may take in several ways, and for what is no JPEG of 8-bit grey, YCbCr or RGB.
    """
    return None if _native is None else _native.read_jpeg(data)


def shrink_luma(luma: Samples, factor: int, black: float, white: float) -> NDArray[np.uint8]:
    """The means of squares of `factor` x `factor` samples, as levels; what is left at the right and below is left out.

    luma: uint8 or uint16 (H, W), its rows in any distance. factor: 1 to LARGEST_FACTOR, and to the shorter side.
    black, white: the samples that become 0 and 255; what is beyond them is clipped. Returns uint8
    (H // factor, W // factor).

    Raises:
        ValueError: an argument is another.
    """
    if luma.dtype not in (np.uint8, np.uint16) or luma.ndim != 2 or luma.strides[1] != luma.itemsize:
        raise ValueError(f"luma must be uint8 or uint16 (H, W) with rows in one piece, not {luma.dtype} {luma.shape}")
    if not 1 <= factor <= min(*luma.shape, LARGEST_FACTOR) or luma.strides[0] % luma.itemsize:
        raise ValueError(f"luma of {luma.shape} samples cannot be shrunk {factor} times")
    if not black < white:
        raise ValueError(f"black must be less than white: {black} and {white}")
    height, width = luma.shape[0] // factor, luma.shape[1] // factor
    if _native is not None:
        out = np.empty((height, width), np.uint8)
        _native.shrink_luma(luma, factor, black, white, out)
        return out
    squares = luma[: height * factor, : width * factor].reshape(height, factor, width, factor)
    sums = squares.sum(axis=(1, 3), dtype=np.int32).astype(np.float32)
    area = np.float32(factor * factor)
    gain = np.float32(255) / ((np.float32(white) - np.float32(black)) * area)
    levels = (sums - np.float32(black) * area) * gain + np.float32(0.5)
    return np.clip(levels.astype(np.int32), 0, 255).astype(np.uint8)


def fatbin() -> bytes:
    """The CUDA kernels for the GPUs that nvcc knew. Empty where declip-rt was built without them."""
    return b"" if _native is None else _native.fatbin()


def lay_out(jobs: NDArray[np.uint8], size: int) -> tuple[int, int, int]:
    """Gives each of the kernels' jobs its places in the memory for weights and in scratch memory.

    jobs: uint8 (n, 104), see declip_rt/backends/cuda/kernels.py. size: a view's side in pixels. Returns the bytes of
    weights and of scratch for all jobs, and the pixels of the longest first pass.

    Raises:
        ValueError: a box is empty or leaves its image, or an image is too large to count its pixels.
    """
    return _native.lay_out(jobs, size)
