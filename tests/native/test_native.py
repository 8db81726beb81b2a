"""The C++ resampler gives Pillow's bytes, on every path, small luma is exact, and neither touches others' memory."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import numpy as np
import PIL
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from declip_rt import native
from declip_rt.native import LEVELS, BoxLike, resample_into
from tests.conftest import examples, picture

SOURCE = Path(native.__file__).parent
SIDES = st.one_of(st.integers(1, 40), st.integers(1, 600))
RIGHT = int(PIL.__version__.partition(".")[0]) >= 13
rounding = pytest.mark.skipif(not RIGHT, reason=f"NOT RUN, Pillow {PIL.__version__} rounds otherwise; 13 is needed")
PATHS = range(LEVELS.index(native.level()) + 1 if native.level() else 0)
STRIDES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as-it-is": lambda rgb: rgb,
    "upside-down": lambda rgb: rgb[::-1],
    "mirrored": lambda rgb: rgb[:, ::-1],
    "bgr": lambda rgb: rgb[:, :, ::-1],
    "thinned": lambda rgb: rgb[::2, ::3],
    "cut": lambda rgb: rgb[rgb.shape[0] // 9 :, rgb.shape[1] // 7 : -(rgb.shape[1] // 3) or None],
    "left": lambda rgb: np.rot90(rgb),
    "right": lambda rgb: np.rot90(rgb, -1),
    "flipped": lambda rgb: rgb.swapaxes(0, 1),
    "planes": np.asfortranarray,
}


def pillow(rgb: np.ndarray, boxes: list[BoxLike], size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(rgb))
    return np.stack([np.asarray(image.resize(size, Image.Resampling.BICUBIC, box)) for box in boxes])


def ours(rgb: np.ndarray, boxes: list[BoxLike], size: tuple[int, int], path: int | None = None) -> np.ndarray:
    out = np.full((len(boxes), *size[::-1], 3), 77, np.uint8)
    with nullcontext() if path is None else mock.patch.object(native._native, "best_level", return_value=path):
        resample_into(rgb, boxes, out)
    return out


def whole(rgb: np.ndarray) -> BoxLike:
    return 0.0, 0.0, float(rgb.shape[1]), float(rgb.shape[0])


def box_of(rgb: np.ndarray, corners: tuple[float, float, float, float], rounded: bool) -> BoxLike:
    """The box between these shares of the sides; the whole image where that would be empty."""
    height, width = rgb.shape[:2]
    (left, right), (top, bottom) = sorted(corners[:2]), sorted(corners[2:])
    box = left * width, top * height, right * width, bottom * height
    if rounded:
        box = float(int(box[0])), float(int(box[1])), float(int(box[2]) + 1), float(int(box[3]) + 1)
    inside = box[2] <= width and box[3] <= height and box[2] - box[0] >= 1e-3 and box[3] - box[1] >= 1e-3
    return box if inside else whole(rgb)


def noise(height: int, width: int, seed: int) -> np.ndarray:
    """Extremes half of the time, where rounding and clipping show."""
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return (rgb // 128 * 255).astype(np.uint8) if seed % 2 else rgb


def test_it_was_built_here() -> None:
    assert native.level() in LEVELS, "install with a C++ compiler: pip install --editable '.[dev]'"


def test_the_stub_says_what_was_built(tmp_path: Path) -> None:
    made = tmp_path / "_native.pyi"
    command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "declip_rt.native._native", "-o", made]
    subprocess.run(command, check=True)
    said, built = (ast.unparse(ast.parse(path.read_text())) for path in (SOURCE / "_native.pyi", made))
    assert said == built, "run `make stub`"


@rounding
@pytest.mark.parametrize("path", PATHS)
@examples(250)
@given(
    sides=st.tuples(SIDES, SIDES),
    size=st.tuples(SIDES, SIDES),
    strides=st.sampled_from(list(STRIDES)),
    corners=st.lists(st.just((0.0, 1.0, 0.0, 1.0)) | st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=3),
    rounded=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_resampling_is_pillows(
    path: int,
    sides: tuple[int, int],
    size: tuple[int, int],
    strides: str,
    corners: list[tuple[float, float, float, float]],
    rounded: bool,
    seed: int,
) -> None:
    rgb = STRIDES[strides](noise(*sides, seed))
    boxes = [box_of(rgb, each, rounded) for each in corners]
    assert np.array_equal(ours(rgb, boxes, size, path), pillow(rgb, boxes, size))


@rounding
@pytest.mark.parametrize(("height", "width"), [(1, 6000), (6000, 1), (6000, 37), (4000, 6000)])
def test_large_photos(height: int, width: int) -> None:
    rgb = noise(height, width, 1)
    expected = pillow(rgb, [whole(rgb)], (224, 224))
    for path in PATHS:
        assert np.array_equal(ours(rgb, [whole(rgb)], (224, 224), path), expected), LEVELS[path]


@rounding
@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("size", [(31, 17), (50, 300), (60, 20)])
def test_any_strides_will_do(strides: str, size: tuple[int, int]) -> None:
    rgb = STRIDES[strides](noise(220, 100, 2))
    boxes = [whole(rgb), (3.5, 2.0, 30.0, 28.25)]
    assert np.array_equal(ours(rgb, boxes, size), pillow(rgb, boxes, size))


def test_several_boxes_of_one_photo_are_each_as_if_alone() -> None:
    rgb = noise(300, 420, 4)
    boxes = [(0.0, 0.0, 420.0, 300.0), (10.5, 0.0, 200.5, 190.0), (10.5, 80.0, 200.5, 270.0), (64.0, 9.0, 128.0, 73.0)]
    assert np.array_equal(ours(rgb, boxes, (64, 64)), pillow(rgb, boxes, (64, 64)))


def test_without_the_extension_pillow_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, boxes = picture(width=90, height=70), [(3.25, 4.5, 60.0, 70.0), (0.0, 0.0, 90.0, 70.0)]
    compiled = ours(rgb, boxes, (20, 30))
    monkeypatch.setattr(native, "_native", None)
    assert native.level() is None
    assert np.array_equal(ours(rgb, boxes, (20, 30)), compiled)


def test_what_it_refuses() -> None:
    rgb = picture(width=40, height=30)
    for bad in (rgb[..., 0], rgb.astype(np.float32), rgb[:0], np.dstack([rgb, rgb])):
        with pytest.raises(ValueError, match="must be RGB uint8"):
            ours(bad, [(0, 0, 8, 8)], (8, 8))
    for box in ((0, 0, 41, 30), (-1, 0, 10, 10), (5, 5, 5, 9), (0, 0, float("nan"), 9)):
        with pytest.raises(ValueError, match="is empty or leaves"):
            ours(rgb, [box], (8, 8))
    for shape in ((1, 2**31 + 8, 3), (2**31 + 8, 1, 3)):  # which C++ would count in ints
        with pytest.raises(ValueError, match="a side is longer than 8,388,608 pixels"):
            ours(np.broadcast_to(np.zeros((1, 1, 3), np.uint8), shape), [(0, 0, 1, 1)], (8, 8))
    with pytest.raises(ValueError, match="C-contiguous"):
        resample_into(rgb, [(0, 0, 40, 30)], np.zeros((1, 8, 16, 3), np.uint8)[:, :, ::2])
    for size in ((0, 0), (0, 8), (8, 0)):
        with pytest.raises(ValueError, match="C-contiguous"):
            ours(rgb, [(0, 0, 40, 30)], size)


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
    sources = [
        Path(__file__).with_name("fuzz.cpp"),
        *(SOURCE / f"{name}.cpp" for name in ("views", "columns", "rows", "jpeg", "luma")),
    ]
    subprocess.run(["g++", *flags, f"-I{SOURCE}", *map(str, sources), "-o", str(tmp_path / "fuzz")], check=True)
    done = subprocess.run([tmp_path / "fuzz"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("500 photos")


LUMA = {np.uint8: (16, 235), np.uint16: (64, 940)}


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7, 8, 64])
def test_small_luma_is_the_mean_of_squares(kind: type, factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    black, white = LUMA[kind]
    samples = np.random.default_rng(factor).integers(0, white * 5 // 4, (131, 203)).astype(kind)[:, :199]
    height, width = 131 // factor, 199 // factor
    squares = samples[: height * factor, : width * factor].reshape(height, factor, width, factor)
    exact = (squares.mean(axis=(1, 3)) - black) * 255 / (white - black)
    built = native.shrink_luma(samples, factor, black, white)
    assert built.shape == (height, width)
    assert np.abs(built - np.clip(exact, 0, 255)).max() <= 0.5 + 1e-3
    monkeypatch.setattr(native, "_native", None)
    np.testing.assert_array_equal(native.shrink_luma(samples, factor, black, white), built)


def test_the_largest_factor_does_not_overflow() -> None:
    assert native.shrink_luma(np.full((256, 512), 255, np.uint8), 256, 0, 255).tolist() == [[255, 255]]


@pytest.mark.parametrize(
    ("samples", "factor", "told"),
    [
        (np.zeros((4, 4)), 2, "not float64"),
        (np.zeros((4, 4, 3), np.uint8), 2, r"not uint8 \(4, 4, 3\)"),
        (np.zeros((4, 8), np.uint8)[:, ::2], 2, "rows in one piece"),
        (np.zeros((4, 8), np.uint8), 5, "cannot be shrunk 5 times"),
        (np.zeros((600, 600), np.uint8), 257, "cannot be shrunk 257 times"),
        (np.zeros((4, 8), np.uint8), 0, "cannot be shrunk 0 times"),
    ],
)
def test_luma_that_it_refuses(samples: np.ndarray, factor: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        native.shrink_luma(samples, factor, 0, 255)
    with pytest.raises(ValueError, match="black must be less"):
        native.shrink_luma(np.zeros((4, 4), np.uint8), 2, 20, 20)
