"""Small gray pictures have the levels of the large ones, by whichever way they were made."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from declip_rt.video.sampling import Picture
from declip_rt.video.shrinker import BITS, Shrinker
from tests.video.clips import photo

FULL, LIMITED = 2, 1


def luma(name: str, levels: np.ndarray, color_range: int) -> VideoFrame:
    """A picture (H, W) of levels from 0 to 255, in this format and range."""
    gray = av.VideoFrame.from_ndarray(levels, format="gray")
    gray.color_range = FULL
    frame = gray.reformat(format=name, dst_color_range=color_range, interpolation=0x2000 | 0x40000)
    frame.color_range = color_range
    return frame


@pytest.mark.parametrize("color_range", [FULL, LIMITED])
@pytest.mark.parametrize("name", [*BITS, "rgb24", "gray", "yuyv422"])
def test_levels_are_those_of_the_picture(name: str, color_range: int) -> None:
    levels = photo("coffee", 1442, 812).mean(2).astype(np.uint8)
    frame = luma(name, levels, FULL if name.startswith("yuvj") or name in ("rgb24", "gray") else color_range)
    small = Shrinker().shrink(Picture(frame, 1.5, 1.6))
    assert (small.width, small.height, small.format.name, float(small.time)) == (480, 270, "gray", 1.5)
    rows, columns = (np.linspace(0, side, count + 1).astype(int) for side, count in ((812, 270), (1442, 480)))
    near = np.add.reduceat(np.add.reduceat(levels.astype(float), rows[:-1], 0), columns[:-1], 1)
    near /= np.outer(np.diff(rows), np.diff(columns))
    differences = small.to_ndarray().astype(float) - near
    assert abs(differences.mean()) < 2.5  # FFmpeg rounds down by up to 3 levels
    assert np.corrcoef(small.to_ndarray().ravel(), near.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("size", [(1920, 1080), (1280, 720), (640, 360), (480, 270), (100, 56), (3840, 2160)])
def test_all_sizes_become_one(size: tuple[int, int]) -> None:
    shrinker = Shrinker()
    made = []
    for each in (size, (1280, 720), (200, 1000)):  # a stream may change its size
        small = shrinker.shrink(Picture(luma("yuv420p", np.full(each[::-1], 77, np.uint8), FULL), 0, 1))
        made.append((small.width, small.height))
        assert abs(small.to_ndarray().mean() - 77) <= 2
    assert set(made) == {(480, 270 if size != (100, 56) else 269)}
