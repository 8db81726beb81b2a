"""JPEG: what the header says, and the pixels by libjpeg-turbo."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from declip_rt import native
from declip_rt.errors import ImageError

END = b"\xff\xd9"
SCAN, MOST_SCANS = b"\xff\xda", 200  # of a progressive one: encoders make 10
DAMAGE = ("Corrupt JPEG data", "Inconsistent progression", "Invalid SOS")  # what libjpeg warns of
ORIENTATION = 0x0112
SCRATCH_BYTES = 96 * 2**20  # the most that a thread keeps for pixels


class Header(NamedTuple):
    """A JPEG's size in pixels, as it lies in the file, and what brings its pixels upright and into sRGB."""

    width: int
    height: int
    is_progressive: bool
    turn: int  # the EXIF orientation, 1 to 8
    profile: bytes  # ICC; none where there is none
    mode: str = "RGB"  # of Pillow: RGB for grey ones, too, whose pixels are made RGB; CMYK and others

    def check(self, data: bytes) -> None:
        """Raises ImageError where decoding would take very long."""
        if self.is_progressive and (scans := data.count(SCAN)) > MOST_SCANS:
            raise ImageError(f"a JPEG of {scans:,} scans, each of which passes over all pixels: save it anew first")


class Scratch(threading.local):
    """Memory for pixels, for each thread its own. A thread's next photo overwrites its last."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def of(self, size: int) -> NDArray[np.uint8]:
        """At least `size` bytes."""
        if size > len(self._memory):
            memory = np.empty(size, np.uint8)
            if size > SCRATCH_BYTES:
                return memory
            self._memory = memory
        return self._memory


def read_header(data: bytes) -> Header | None:
    """The header, at once. None for what is no JPEG, and for what Pillow must have a look at: see `header_of`."""
    found = native.read_jpeg(data)
    return None if found is None else Header(*found)


def header_of(image: Image.Image) -> Header:
    """The header of a JPEG that Pillow has opened."""
    profile = image.info.get("icc_profile") or b""
    mode = "RGB" if image.mode == "L" else image.mode
    return Header(*image.size, "progressive" in image.info, read_turn(image), profile, mode)


def read_turn(image: Image.Image) -> int:
    """The EXIF orientation: 1 is upright."""
    try:
        turn = image.getexif().get(ORIENTATION, 1)
    except Exception:  # the pixels may be fine though the EXIF block is broken
        return 1
    return turn if turn in range(1, 9) else 1


def pixels_of(
    data: bytes, header: Header, least: int | None, scratch: Scratch | None
) -> tuple[NDArray[np.uint8] | None, str]:
    """RGB uint8 (H, W, 3), not turned upright, and what libjpeg complained of. None where Pillow must decode it.

    least, scratch: see Encoded.decode. Raises ImageError where the data end before the pixels do.
    """
    if header.mode not in ("RGB", "CMYK"):
        return None, ""
    factor = 1
    while least and factor < 8 and min(header.width, header.height) // (2 * factor) >= least:
        factor *= 2
    width, height = -(-header.width // factor), -(-header.height // factor)
    direct = header.mode == "RGB"  # those of CMYK are decoded to be heard of, and Pillow knows what to make of them
    buffer = scratch.of(3 * width * height) if scratch and direct else None
    try:
        rgb = simplejpeg.decode_jpeg(
            data, "RGB" if direct else "CMYK", min_width=width, min_height=height, min_factor=factor, buffer=buffer
        )
    except MemoryError as error:
        raise ImageError(f"{width}x{height} pixels do not fit into the memory that is left") from error
    except ValueError as error:
        damaged = str(error)
        if "premature end" in damaged.lower():
            raise ImageError(f"truncated or corrupt: {damaged}") from error
        return None, damaged if damaged.startswith(DAMAGE) else ""
    return (rgb if direct else None), ""
