"""Camera raw: the preview that the camera has put into the file."""

from __future__ import annotations

import io
from dataclasses import dataclass

from declip_rt import extras
from declip_rt.errors import ImageError, Unavailable

SUFFIXES = (".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw")
DEVELOP = "develop it to JPEG, PNG or TIFF first"
LEAST = 512  # pixels of a preview's short side: fewer would not tell how sharp the photo is
TURNS = {3: 3, 5: 8, 6: 6}  # LibRaw's flips: EXIF orientations


@dataclass(frozen=True)
class Preview:
    """An embedded JPEG or PPM; its size beside the photo's; the EXIF orientation that brings it upright, 1 if it is."""

    data: bytes
    of: str
    turn: int


def is_read() -> bool:
    """Whether rawpy is installed (`declip-rt[photos]`)."""
    try:
        extras.load("rawpy")
    except Unavailable:
        return False
    return True


def preview_of(data: bytes, kind: str) -> Preview:
    """The preview in a raw file. Raises ImageError where there is none that could stand for the photo."""
    try:
        rawpy = extras.load("rawpy")
    except Unavailable as missing:
        raise ImageError(f'{kind} is not read: pip install "declip-rt[photos]", or {DEVELOP}') from missing
    try:
        with rawpy.imread(io.BytesIO(data)) as photo:
            sizes = photo.sizes
            found = photo.extract_thumb()
    except Exception as error:  # LibRaw's own, and those of a preview of another kind
        reason = error.args[0] if error.args else type(error).__name__
        reason = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise ImageError(f"{kind} without a preview that can be read ({reason}): {DEVELOP}") from error
    turn = TURNS.get(sizes.flip, 1)
    width, height = (sizes.height, sizes.width) if turn in (6, 8) else (sizes.width, sizes.height)
    if found.format == rawpy.ThumbFormat.BITMAP:
        rows, columns, channels = found.data.shape
        header = b"P%d %d %d 255\n" % (5 if channels == 1 else 6, columns, rows)
        return Preview(header + found.data.astype("u1").tobytes(), f"{width}x{height}", turn)
    return Preview(bytes(found.data), f"{width}x{height}", turn)
