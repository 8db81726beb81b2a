"""Pictures that compression has not touched, or that are as good: where ladders of compression begin."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from train.i2t.manifest import Row
from train.photos import photos

LEAST = 450  # pixels of the short side of a JPEG that is shrunk to half


def lossless(data: Path, split: str) -> list[Row]:
    """The split's PNGs as they are, and its larger photos at half their size, without texts or scores.

    Images are named from `data` on. Half the size averages four pixels, and with them the blocks of a good JPEG away.
    """
    pngs = [Row(_name(photo.path, data)) for photo in photos(data, "pristine", split) if photo.path.suffix == ".png"]
    rated = [photo.path for name in ("mos", "beauty") for photo in photos(data, name, split)]
    return pngs + [Row(_name(path, data), shrink=2) for path in rated if _short_side(path) >= LEAST]


def _name(path: Path, data: Path) -> str:
    return path.relative_to(data).as_posix()


def _short_side(path: Path) -> int:
    with Image.open(path) as image:
        return min(image.size)
