"""Decoded pictures as RGB: upright, of square pixels, in sRGB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from declip_rt import extras
from declip_rt.errors import ConfigError, ImageError
from declip_rt.images.color import HDR
from declip_rt.images.decode import MAX_PIXELS, RGB, TURNS
from declip_rt.native import LONGEST

if TYPE_CHECKING:
    from av.filter.graph import Graph
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

COLORS = ("auto", "bt601", "bt709", "bt2020")
NUMBERS = {"bt601": 6, "bt709": 1, "bt2020": 9}  # in ITU-T H.273
UNSPECIFIED = (2, 3)  # of matrices; the second is reserved
HD = 720  # lines from which an untagged stream is taken as BT.709
UPRIGHT = {0: 1, 90: 8, 180: 3, -180: 3, -90: 6}  # degrees counterclockwise -> the EXIF orientation alike
BILINEAR, BICUBIC = 0x2, 0x4  # of FFmpeg's swscale
EXACT = 0x2000 | 0x40000  # full chroma and accurate rounding: without, pixels are up to 3 levels too dark
SQUARE = Fraction(1)
FILTERS_KEPT = 8
STRETCH = 4  # a sample aspect ratio beyond it is a slip of the file
TONE_MAPPED = "out_transfer=bt709:out_primaries=bt709:intent=perceptual"


class Pixels:
    """Converts pictures. color: the matrix, one of COLORS. aspect: width of a sample to its height."""

    def __init__(self, color: str = "auto", aspect: Fraction = SQUARE) -> None:
        ConfigError.check_choice("color", color, COLORS)
        self.color, self.aspect = color, aspect
        self._reformatter = extras.load("av.video.reformatter").VideoReformatter()

    def matrix(self, frame: VideoFrame) -> tuple[int, bool]:
        """The number of the matrix that the picture is converted by, and whether that is an assumption."""
        if frame.format.is_rgb:
            return 0, False
        if self.color != "auto":
            return NUMBERS[self.color], False
        if frame.colorspace not in UNSPECIFIED:
            return frame.colorspace, False
        return NUMBERS["bt709" if min(frame.width, frame.height) >= HD else "bt601"], True

    def convert(self, frame: VideoFrame) -> RGB:
        """RGB uint8 (H, W, 3). Transparency is laid over white, as that of stills is. Raises ImageError."""
        check_size(frame)
        if not frame.format.is_rgb:
            frame.colorspace = self.matrix(frame)[0]
        with conversion(frame):
            rgb = self._square(frame, round(frame.width * self.aspect) or 1, frame.height)
        return np.ascontiguousarray(TURNS[UPRIGHT.get(frame.rotation, 1)](rgb))

    def _square(self, frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        if frame.color_trc in HDR:
            # Brings PQ and HLG into the range of sRGB. FFmpeg computes for seconds before the first picture.
            scale = ("scale", f"{width}:{height}:{TONE_MAPPED}")
            return np.asarray(filtered(frame, scale, ("format", "rgb24")).to_ndarray(), np.uint8)
        if _has_alpha(frame):
            above = Image.fromarray(self._reformatted(frame, width, height, "rgba"))
            return np.asarray(Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB"))
        return self._reformatted(frame, width, height, "rgb24")

    def _reformatted(self, frame: VideoFrame, width: int, height: int, pixel_format: str) -> NDArray[np.uint8]:
        way = EXACT | (BILINEAR if width == frame.width else BICUBIC)
        made = self._reformatter.reformat(frame, width, height, pixel_format, interpolation=way, threads=1)
        return np.asarray(made.to_ndarray(), np.uint8)


@contextmanager
def conversion(frame: VideoFrame) -> Iterator[None]:
    """Makes what FFmpeg refuses of a picture an ImageError: pictures that can be decoded may have odd colors."""
    try:
        yield
    except (extras.load("av.error").FFmpegError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(
            f"its pictures ({frame.format.name}, color matrix {int(frame.colorspace)}) cannot be converted: "
            f"{getattr(error, 'strerror', None) or error}; name another matrix by `color`"
        ) from error


class Kind(NamedTuple):
    """What a graph of filters has to know of its pictures."""

    width: int
    height: int
    pixel_format: str
    base: str  # of time, such as "1/1000" seconds
    matrix: int
    range: int
    transfer: int

    @classmethod
    def of(cls, frame: VideoFrame) -> Kind:
        base = frame.time_base or Fraction(1, 1000)
        tags = frame.colorspace, frame.color_range, frame.color_trc
        return cls(frame.width, frame.height, frame.format.name, f"{base.numerator}/{base.denominator}", *tags)


def build_graph(like: VideoFrame | Kind, *filters: tuple[str, str | None]) -> Graph:
    """A chain of filters for pictures like this one, or of a kind."""
    kind = like if isinstance(like, Kind) else Kind.of(like)
    graph = extras.load("av.filter").Graph()
    graph.threads = 1
    source = graph.add(
        "buffer",
        video_size=f"{kind.width}x{kind.height}",
        pix_fmt=kind.pixel_format,
        time_base=kind.base,
        colorspace=str(kind.matrix),
        range=str(kind.range),
    )
    graph.link_nodes(source, *(graph.add(name, args) for name, args in filters), graph.add("buffersink"))
    graph.configure()
    return graph  # type: ignore[no-any-return]


def filtered(frame: VideoFrame, *filters: tuple[str, str]) -> VideoFrame:
    """What filters that give a picture for each make of one, by a graph that all videos of a kind share."""
    graph, lock = _shared_graph(Kind.of(frame), *filters)
    with lock:
        graph.vpush(frame)
        return graph.vpull()


@lru_cache(FILTERS_KEPT)
def _shared_graph(kind: Kind, *filters: tuple[str, str]) -> tuple[Graph, Lock]:
    return build_graph(kind, *filters), Lock()


def check_size(frame: VideoFrame) -> None:
    """Raises ImageError where a picture is larger than a photo may be."""
    if frame.width * frame.height > MAX_PIXELS or max(frame.width, frame.height) * STRETCH > LONGEST:
        raise ImageError(f"pictures of {frame.width}x{frame.height} pixels are too large; shrink them first")


def sides(frame: VideoFrame, aspect: Fraction) -> tuple[int, int]:
    """Width and height of a picture in pixels, upright and square."""
    width, height = round(frame.width * aspect) or 1, frame.height
    return (height, width) if UPRIGHT.get(frame.rotation, 1) in (6, 8) else (width, height)


def aspect_of(stream: VideoStream) -> Fraction:
    """Width of a sample to its height; 1 where it is unknown or absurd."""
    given = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    if not given or not given.numerator:
        return SQUARE
    aspect = Fraction(given.numerator, given.denominator)
    return aspect if Fraction(1, STRETCH) <= aspect <= STRETCH else SQUARE


def _has_alpha(frame: VideoFrame) -> bool:
    return frame.format.name == "pal8" or any(each.is_alpha for each in frame.format.components)
