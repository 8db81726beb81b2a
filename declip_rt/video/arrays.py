"""Frames of NumPy as images to score, whatever the order of their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from declip_rt.errors import ImageError
from declip_rt.images.load import ImageLike
from declip_rt.video.pipe import Format
from declip_rt.video.pixels import Pixels
from declip_rt.video.planes import to_frame

PIXELS = ("rgb24", "bgr24", "yuv420p", "nv12")
ONCE = Fraction(1)  # a frame by itself has no rate


def to_image(frame: Any, pixels: str) -> ImageLike:
    """RGB uint8 (H, W, 3) of a frame of NumPy; anything else as it is. pixels: one of PIXELS. Raises ImageError."""
    planes = frame if _is_planes(frame) else [frame]
    if pixels == "rgb24" or not all(isinstance(plane, np.ndarray) for plane in planes):
        image: ImageLike = frame
        return image
    if _is_planes(frame) and (not planes or pixels == "bgr24"):
        form = "one array (H, W, 3)" if pixels == "bgr24" else "its planes, or one array of all"
        raise ImageError(f"a frame of {len(planes)} arrays; {pixels} is {form}")
    if any(plane.dtype != np.uint8 for plane in planes):
        raise ImageError(f"a frame of {', '.join(str(plane.dtype) for plane in planes)}; give uint8")
    return _of_bgr(frame) if pixels == "bgr24" else _of_yuv(planes, pixels)


def _is_planes(frame: Any) -> bool:
    return isinstance(frame, Sequence) and not isinstance(frame, (str, bytes))


def _of_bgr(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if np.ndim(frame) != 3 or frame.shape[2] != 3:
        raise ImageError(f"a frame of shape {np.shape(frame)}; bgr24 is (H, W, 3)")
    return np.ascontiguousarray(frame[:, :, ::-1])


def _of_yuv(planes: Sequence[NDArray[np.uint8]], pixels: str) -> NDArray[np.uint8]:
    luma = planes[0]
    if any(plane.ndim < 2 for plane in planes) or (len(planes) == 1 and luma.shape[0] % 3):
        raise ImageError(
            f"planes of shapes {[plane.shape for plane in planes]}; {pixels} is in rows of luma and chroma"
        )
    height, width = luma.shape[0] if len(planes) > 1 else luma.shape[0] * 2 // 3, luma.shape[1]
    form = Format.raw(width, height, pixels, ONCE)
    data = np.concatenate([plane.ravel() for plane in planes])
    if len(data) != form.size:
        raise ImageError(
            f"planes of shapes {[plane.shape for plane in planes]} have {len(data):,} bytes; "
            f"{pixels} of {width}x{height} has {form.size:,}"
        )
    return Pixels().convert(to_frame(data, form))
