"""Small gray pictures, by which all pictures of a video are looked at."""

from __future__ import annotations

import sys
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from declip_rt import extras
from declip_rt.native import LARGEST_FACTOR, Samples, shrink_luma
from declip_rt.video.pixels import conversion
from declip_rt.video.sampling import Picture

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

WIDTH = 480  # pixels that a picture is looked at in
TALLEST = 4 * WIDTH  # a picture that is a strip is squeezed
PLAIN = 1  # the color matrix that pictures are looked at with: luma is the same by all, and FFmpeg lacks some
MICRO = Fraction(1, 1_000_000)  # seconds of a unit of time
FULL = 2  # of color ranges, in FFmpeg
LIMITED = 16, 235  # levels of black and white of 8 bits
CHROMA = ("420p", "422p", "444p")
BITS = {
    **{f"yuv{chroma}": 8 for chroma in CHROMA},
    **{f"yuvj{chroma}": 8 for chroma in CHROMA},
    "nv12": 8,
    **{f"yuv{chroma}{bits}{sys.byteorder[0]}e": bits for chroma in CHROMA for bits in (10, 12)},
}  # formats whose first plane is luma alone, and the bits of a sample


class Shrinker:
    """Makes small gray pictures, all of the size that the first one asks for."""

    def __init__(self) -> None:
        self._frames = extras.load("av.video.frame").VideoFrame
        self._reformatter = extras.load("av.video.reformatter").VideoReformatter()
        self._height = 0

    def shrink(self, picture: Picture) -> VideoFrame:
        """WIDTH pixels wide, of full range, with its time in MICRO. Raises ImageError."""
        frame = picture.frame
        self._height = self._height or min(max(2, round(WIDTH * frame.height / frame.width)), TALLEST)
        with conversion(frame):
            small = self.to_gray(self._reduced(frame), WIDTH, self._height)
        small.pts, small.time_base = round(picture.time / MICRO), MICRO
        return small

    def to_gray(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        """Of this size in pixels."""
        if (frame.format.name, frame.width, frame.height) == ("gray", width, height):
            return frame
        gray = {"format": "gray", "interpolation": "AREA", "dst_color_range": "JPEG", "threads": 1}
        matrix = {} if frame.format.is_rgb else {"src_colorspace": PLAIN, "dst_colorspace": PLAIN}
        return self._reformatter.reformat(frame, width, height, **gray, **matrix)  # type: ignore[no-any-return]

    def _reduced(self, frame: VideoFrame) -> VideoFrame:
        """Smaller by a whole number, where that leaves WIDTH and height: FFmpeg takes four times as long for all."""
        factor = min(frame.width // WIDTH, frame.height // self._height, LARGEST_FACTOR)
        bits = BITS.get(frame.format.name)
        if factor < 2 or bits is None:
            return frame
        black, white = LIMITED
        if frame.color_range == FULL or frame.format.name.startswith("yuvj"):
            black, white = 0, 255
        scale = 1 << (bits - 8)
        levels = shrink_luma(_luma(frame, bits), factor, black * scale, white * scale + (scale - 1) * (white == 255))
        return self._frames.from_ndarray(levels, format="gray")  # type: ignore[no-any-return]


def _luma(frame: VideoFrame, bits: int) -> Samples:
    """The first plane (H, W), where the picture has it."""
    plane = frame.planes[0]
    data = memoryview(plane)
    samples: Samples = np.frombuffer(data, np.uint8) if bits == 8 else np.frombuffer(data, np.uint16)
    stride = plane.line_size // samples.itemsize
    return samples[: frame.height * stride].reshape(frame.height, stride)[:, : frame.width]
