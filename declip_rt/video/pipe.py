"""Uncompressed video on a pipe: YUV4MPEG2, or raw frames of a size that is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from declip_rt.errors import ConfigError, ImageError
from declip_rt.images.decode import MAX_PIXELS

MAGIC, MARK = b"YUV4MPEG2", b"FRAME"  # what a stream begins with, and each of its frames
SLOWEST, FASTEST = 1e-5, 1e4  # frames a second
EMPTY = "the stream ended before its first frame"
UNTOLD = (
    "the stream is no YUV4MPEG2; of raw frames give `size`, `pix` and `fps`; files of videos are for declip-rt video"
)
HEADER = 1024  # bytes of a line, at most
RAW = ("rgb24", "bgr24", "yuv420p", "nv12")  # what raw frames can be
LEFT, CENTER, TOPLEFT = "left", "center", "topleft"
SITINGS = {"420": CENTER, "420jpeg": CENTER, "420mpeg2": LEFT, "420paldv": TOPLEFT}  # by the tag C of YUV4MPEG2
Y4M = {  # the tag C of YUV4MPEG2: FFmpeg's name
    "420": "yuv420p",
    "420jpeg": "yuv420p",
    "420mpeg2": "yuv420p",
    "420paldv": "yuv420p",
    "422": "yuv422p",
    "444": "yuv444p",
    "mono": "gray",
    "420p10": "yuv420p10le",
    "422p10": "yuv422p10le",
    "444p10": "yuv444p10le",
}
SUBSAMPLED = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}  # luma for one chroma sample, across and down


@dataclass(frozen=True)
class Format:
    """How the frames lie in the stream.

    width, height: in pixels. pix: FFmpeg's name of the pixel format. fps: frames a second. full: whether luma goes from
    0 to 255; None where the stream does not say. sar: a pixel's width by its height. interlaced: of woven fields.
    siting: where samples of chroma lie among those of luma, as FFmpeg calls it; None where it does not say.
    """

    width: int
    height: int
    pix: str
    fps: Fraction
    full: bool | None = None
    sar: Fraction = Fraction(1)
    interlaced: bool = False
    siting: str | None = None

    @classmethod
    def raw(cls, width: int, height: int, pix: str, fps: Fraction) -> Self:
        """That of frames of RAW, whose chroma lies as that of most streams does."""
        return cls(width, height, pix, fps, siting=LEFT if pix in ("yuv420p", "nv12") else None)

    def __post_init__(self) -> None:
        if not 0 < self.width * self.height <= MAX_PIXELS:
            raise ImageError(f"{self.width}x{self.height} is no size of a frame")
        if not self.fps > 0:
            raise ConfigError("the stream does not tell its frame rate: give it with `fps`")

    @property
    def bits(self) -> int:
        return 10 if self.pix.endswith("10le") else 8

    @property
    def planes(self) -> list[tuple[int, int]]:
        """Rows and samples a row of each plane, in the order of the stream."""
        width, height = self.width, self.height
        if self.pix in ("rgb24", "bgr24"):
            return [(height, 3 * width)]
        if self.pix == "gray":
            return [(height, width)]
        if self.pix == "nv12":
            return [(height, width), (-(-height // 2), 2 * -(-width // 2))]
        across, down = SUBSAMPLED[self.pix[3:6]]
        chroma = -(-height // down), -(-width // across)
        return [(height, width), chroma, chroma]

    @property
    def size(self) -> int:
        """Bytes of a frame."""
        return sum(rows * samples for rows, samples in self.planes) * (2 if self.bits > 8 else 1)


class Pipe:
    """Reads frames from a binary stream, one after the other.

    YUV4MPEG2 is told by its first bytes. It says itself what `size` (width, height), `pix` (of RAW) and `fps` say of
    raw frames; `fps` counts where its header has none.

    Raises:
        ConfigError: raw frames, and something of their format is not given; or it is wrong (`check_raw`).
        ImageError: the stream is empty or damaged.
    """

    def __init__(
        self, stream: BinaryIO, size: tuple[int, int] | None = None, pix: str | None = None, fps: float | None = None
    ) -> None:
        check_raw(size, pix, fps)
        self._stream, self._ahead = stream, b""
        rate = None if fps is None else Fraction(fps).limit_denominator(100_000)
        begin = self._read(len(MAGIC))
        if not begin:
            raise ImageError(EMPTY)
        self._is_y4m = begin == MAGIC
        if self._is_y4m:
            self.format = _y4m(self._line(), rate)
            return
        if size is None or pix is None or rate is None:
            raise ConfigError(UNTOLD)
        self.format, self._ahead = Format.raw(*size, pix, rate), begin

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yields the bytes of each frame, in memory of its own. Raises ImageError where the stream breaks off."""
        number, size = 0, self.format.size
        while not self._is_y4m or self._mark(number):
            data = np.empty(size, np.uint8)
            got = self._fill(data.data)
            if not got and not self._is_y4m:
                break
            if got < size:
                raise ImageError(f"the stream ends within frame {number}, after {got:,} of {size:,} bytes")
            yield data
            number += 1
        if not number:
            raise ImageError(EMPTY)

    def _mark(self, number: int) -> bool:
        """Reads what stands in front of a frame of YUV4MPEG2; False at the end of the stream."""
        begin = self._read(len(MARK))
        if not begin:
            return False
        if begin != MARK:
            raise ImageError(f"frame {number} begins with {begin!r}, not with FRAME: the stream is damaged")
        self._line()
        return True

    def _line(self) -> str:
        """The rest of a line."""
        line = bytearray()
        while len(line) < HEADER:
            byte = self._read(1)
            if byte == b"\n":
                return line.decode("ascii", "replace")
            if not byte:
                raise ImageError("the stream ends within a header")
            line += byte
        raise ImageError(f"a header is longer than {HEADER} bytes: the stream is damaged")

    def _read(self, count: int) -> bytes:
        into = bytearray(count)
        return bytes(into[: self._fill(memoryview(into))])

    def _fill(self, into: memoryview) -> int:
        """Reads until `into` is full or the stream ends. Returns the bytes that came."""
        done = min(len(self._ahead), len(into))
        into[:done], self._ahead = self._ahead[:done], self._ahead[done:]
        try:
            while done < len(into) and (count := self._stream.readinto(into[done:])):  # type: ignore[attr-defined]
                done += count
        except OSError as error:
            raise ImageError(f"the stream cannot be read: {error.strerror or error}") from error
        return done


def check_raw(size: tuple[int, int] | None, pix: str | None, fps: float | None) -> None:
    """Raises ConfigError where raw frames are told wrongly or in part; `fps` alone is of YUV4MPEG2 without a rate."""
    if size is not None and not (min(size) > 0 and size[0] * size[1] <= MAX_PIXELS):
        raise ConfigError(f"`size` must be of 1 to {MAX_PIXELS:,} pixels, not {size[0]}x{size[1]}")
    if pix is not None:
        ConfigError.check_choice("pix", pix, RAW)
    if fps is not None and not SLOWEST <= fps <= FASTEST:
        raise ConfigError(f"`fps` must be frames a second, from {SLOWEST:g} to {FASTEST:g}, not {fps}")
    lacking = [name for name, given in (("size", size), ("pix", pix), ("fps", fps)) if given is None]
    if lacking and (size or pix):
        raise ConfigError(f"raw frames need `size`, `pix` and `fps`: {' and '.join(lacking)} not given")


def begins_as_y4m(stream: BinaryIO) -> bool:
    """Whether a file that can be sought in is YUV4MPEG2, or empty; it stays where it is."""
    place, begin = stream.tell(), stream.read(len(MAGIC))
    stream.seek(place)
    return begin in (MAGIC, b"")


def _y4m(header: str, fps: Fraction | None) -> Format:
    """What the header of YUV4MPEG2 says."""
    tags = {tag[0]: tag[1:] for tag in header.split() if tag[0] != "X"}
    own = dict(tag[1:].split("=", 1) for tag in header.split() if tag[0] == "X" and "=" in tag)
    color = tags.get("C", "420jpeg")
    if color not in Y4M:
        raise ImageError(f"frames of C{color} are not read; convert them, as by ffmpeg -pix_fmt yuv420p")
    size = [tags.get(side, "") for side in "WH"]
    if not all(re.fullmatch(r"\d{1,9}", side) for side in size):
        raise ImageError(f"the header says no size: {header[:80]!r}")
    full = {"FULL": True, "LIMITED": False}.get(own.get("COLORRANGE", ""))
    rate = _ratio(tags.get("F", "")) or fps or Fraction(0)
    made = Format(int(size[0]), int(size[1]), Y4M[color], rate, full, interlaced=tags.get("I", "p") not in "p?")
    return replace(made, sar=_ratio(tags.get("A", "")) or Fraction(1), siting=SITINGS.get(color))


def _ratio(text: str) -> Fraction | None:
    """A tag such as 30000:1001; None where it says nothing."""
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    return Fraction(int(match[1]), int(match[2])) if match and int(match[1]) and int(match[2]) else None
