"""The C++ resampler gives Pillow's bytes, on every path, and touches no memory but its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import PIL
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from declip_rt import native
from declip_rt.native import FILTERS, LEVELS, Filter, resample, resample_into
from tests.conftest import examples, picture

SOURCE = Path(native.__file__).parent
SIDES = st.one_of(st.integers(1, 40), st.integers(1, 600))
RIGHT = int(PIL.__version__.partition(".")[0]) >= 13
rounding = pytest.mark.skipif(not RIGHT, reason=f"NOT RUN, Pillow {PIL.__version__} rounds otherwise; 13 is needed")
PATHS = range(LEVELS.index(native.level()) + 1 if native.level() else 0)


def pillow(rgb: np.ndarray, size: tuple[int, int], box: tuple[float, ...] | None, filter: Filter) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize(size, FILTERS[filter], box))


def noise(height: int, width: int, seed: int) -> np.ndarray:
    """Extremes half of the time, where rounding and clipping show."""
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return (rgb // 128 * 255).astype(np.uint8) if seed % 2 else rgb


def test_it_was_built_here() -> None:
    assert native.level() in LEVELS, "install with a C++ compiler: pip install --editable '.[dev]'"


@rounding
@pytest.mark.parametrize("path", PATHS)
@examples(250)
@given(
    sides=st.tuples(SIDES, SIDES),
    size=st.tuples(SIDES, SIDES),
    filter=st.sampled_from(list(FILTERS)),
    corners=st.none() | st.tuples(*[st.floats(0, 1)] * 4),
    whole=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_resampling_is_pillows(
    path: int,
    sides: tuple[int, int],
    size: tuple[int, int],
    filter: Filter,
    corners: tuple[float, float, float, float] | None,
    whole: bool,
    seed: int,
) -> None:
    height, width = sides
    box = None
    if corners:
        (left, right), (top, bottom) = sorted(corners[:2]), sorted(corners[2:])
        box = (left * width, top * height, right * width, bottom * height)
        if whole:
            box = (float(int(box[0])), float(int(box[1])), float(int(box[2]) + 1), float(int(box[3]) + 1))
        if box[2] > width or box[3] > height or box[2] - box[0] < 1e-3 or box[3] - box[1] < 1e-3:
            box = None
    rgb = noise(height, width, seed)
    with mock.patch.object(native._native, "best_level", return_value=path):
        assert np.array_equal(resample(rgb, size, box, filter), pillow(rgb, size, box, filter))


@rounding
@pytest.mark.parametrize(("height", "width"), [(1, 6000), (6000, 1), (6000, 37), (4000, 6000)])
@pytest.mark.parametrize("filter", FILTERS)
def test_large_photos(height: int, width: int, filter: Filter) -> None:
    rgb = noise(height, width, 1)
    assert np.array_equal(resample(rgb, (224, 224), None, filter), pillow(rgb, (224, 224), None, filter))


@rounding
@pytest.mark.parametrize(
    "seen",
    [
        lambda rgb: rgb[::-1],
        lambda rgb: rgb[:, ::-1],
        lambda rgb: rgb[:, :, ::-1],
        lambda rgb: rgb[::2, 1::3],
        lambda rgb: rgb[5:90, 7:61],
        lambda rgb: np.rot90(rgb),
        lambda rgb: np.rot90(rgb, -1),
        lambda rgb: rgb.swapaxes(0, 1),
        np.asfortranarray,
    ],
    ids=["upside-down", "mirrored", "bgr", "thinned", "cut", "left", "right", "flipped", "planes"],
)
@pytest.mark.parametrize("size", [(31, 17), (50, 300), (60, 20)])
def test_any_strides_will_do(seen: Callable[[np.ndarray], np.ndarray], size: tuple[int, int]) -> None:
    rgb = seen(noise(220, 100, 2))
    boxes = [(0.0, 0.0, *map(float, rgb.shape[1::-1])), (3.5, 2.0, 30.0, 28.25)]
    out = np.zeros((2, *size[::-1], 3), np.uint8)
    resample_into(rgb, boxes, out)
    for view, box in zip(out, boxes, strict=True):
        assert np.array_equal(view, pillow(rgb, size, box, "bicubic"))


def test_several_boxes_of_one_photo_are_each_as_if_alone() -> None:
    rgb = noise(300, 420, 4)
    boxes = [(0.0, 0.0, 420.0, 300.0), (10.5, 0.0, 200.5, 190.0), (10.5, 80.0, 200.5, 270.0), (64.0, 9.0, 128.0, 73.0)]
    out = np.zeros((4, 64, 64, 3), np.uint8)
    resample_into(rgb, boxes, out)
    for view, box in zip(out, boxes, strict=True):
        assert np.array_equal(view, pillow(rgb, (64, 64), box, "bicubic"))


def test_without_the_extension_pillow_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, box = picture(width=90, height=70), (3.25, 4.5, 60.0, 70.0)
    ours = resample(rgb, (20, 30), box)
    monkeypatch.setattr(native, "_native", None)
    assert native.level() is None
    assert np.array_equal(resample(rgb, (20, 30), box), ours)


def test_what_it_refuses() -> None:
    rgb = picture(width=40, height=30)
    for bad in (rgb[..., 0], rgb.astype(np.float32), rgb[:0], np.dstack([rgb, rgb])):
        with pytest.raises(ValueError, match="must be RGB uint8"):
            resample(bad, (8, 8))
    for box in ((0, 0, 41, 30), (-1, 0, 10, 10), (5, 5, 5, 9), (0, 0, float("nan"), 9)):
        with pytest.raises(ValueError, match="is empty or leaves"):
            resample(rgb, (8, 8), box)
    with pytest.raises(ValueError, match="at least 1 by 1"):
        resample(rgb, (0, 8))
    with pytest.raises(ValueError, match="C-contiguous"):
        resample_into(rgb, [(0, 0, 40, 30)], np.zeros((1, 8, 16, 3), np.uint8)[:, :, ::2])
    for size in ((0, 0), (0, 8), (8, 0)):
        with pytest.raises(ValueError, match="C-contiguous"):
            resample_into(rgb, [(0, 0, 40, 30)], np.zeros((1, *size, 3), np.uint8))


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("g++"), reason="needs g++ with its sanitizers")
def test_no_sanitizer_objects(tmp_path: Path) -> None:
    flags = [
        "-std=c++20",
        "-O1",
        "-g",
        "-ffp-contract=off",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ]
    sources = [Path(__file__).with_name("fuzz.cpp"), SOURCE / "views.cpp", SOURCE / "columns.cpp"]
    subprocess.run(["g++", *flags, f"-I{SOURCE}", *map(str, sources), "-o", str(tmp_path / "fuzz")], check=True)
    done = subprocess.run([tmp_path / "fuzz"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("500 photos")
