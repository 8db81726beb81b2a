"""The kernels' arithmetic, on a CPU: byte for byte that of the resampler, and so of Pillow."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from declip_rt import native
from declip_rt.cuda.views import JOB, DeviceImage, Views
from declip_rt.native import _native
from declip_rt.views import Box
from tests.conftest import picture

pytestmark = pytest.mark.skipif(native.level() is None, reason="built without a compiler")


def image_of(rgb: np.ndarray) -> DeviceImage:
    return DeviceImage(rgb.ctypes.data, *rgb.shape[:2], rgb.strides)


def cut(images: list[tuple[np.ndarray, Box]], size: int) -> np.ndarray:
    out = np.full((len(images), size, size, 3), 77, np.uint8)
    jobs = [(image_of(rgb), box, n * out[0].nbytes) for n, (rgb, box) in enumerate(images)]
    table = Views.planned(jobs, size).jobs.view(np.uint8).reshape(-1, JOB.itemsize)
    _native.ragged(table, size, out)
    return out


def expected(rgb: np.ndarray, box: Box, size: int) -> np.ndarray:
    out = np.empty((1, size, size, 3), np.uint8)
    native.resample_into(rgb, [box], out)
    return out[0]


sides = st.integers(1, 400)


@settings(max_examples=300, deadline=None)
@given(sides, sides, st.integers(1, 90), st.lists(st.floats(0, 1), min_size=4, max_size=4), st.integers(0, 3))
def test_any_box_of_any_image(width: int, height: int, size: int, corners: list[float], turn: int) -> None:
    rgb = np.rot90(picture(width * height, width, height), turn)
    height, width = rgb.shape[:2]
    (left, right), (top, bottom) = (sorted(corners[i::2]) for i in (0, 1))
    box = Box(left * width, top * height, right * width, bottom * height)
    box = Box(*np.array(box, np.float32).tolist())
    if box.right <= box.left or box.bottom <= box.top:
        return
    assert np.array_equal(cut([(rgb, box)], size)[0], expected(rgb, box, size))


@pytest.mark.parametrize(("width", "height"), [(3000, 40), (40, 3000), (1333, 2000), (224, 224), (100, 100), (60, 500)])
def test_shapes_that_cameras_and_screens_make(width: int, height: int) -> None:
    rgb = picture(3, width, height)
    box = Box(0, 0, width, height)
    assert np.array_equal(cut([(rgb, box)], 224)[0], expected(rgb, box, 224))


def test_a_ragged_batch_of_any_layout() -> None:
    chw = np.ascontiguousarray(picture(1, 300, 200).transpose(2, 0, 1)).transpose(1, 2, 0)
    layouts = [picture(0, 640, 480), chw, picture(2, 90, 700)[::-1, ::-1], picture(3, 500, 333)[20:, 30:, ::-1]]
    boxes = [Box(1.5, 2.25, 400, 333.3), Box(0, 0, 200, 200), Box(5, 100, 85, 180), Box(0, 0, 64, 64)]
    found = cut(list(zip(layouts, boxes, strict=True)), 64)
    for view, rgb, box in zip(found, layouts, boxes, strict=True):
        assert np.array_equal(view, expected(rgb, box, 64))


def test_the_table_is_laid_out_as_the_kernels_read_it() -> None:
    assert JOB.itemsize == 88
    assert JOB.fields is not None
    assert JOB.fields["out"][1] == 56


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="NOT RUN: no nvcc on the PATH")
def test_nvcc_compiles_them_for_all_gpus() -> None:
    fatbin = native.fatbin()
    assert fatbin[:4] == bytes.fromhex("50ed55ba"), "the magic number of a fatbin"
    for name in (b"declip_weigh", b"declip_pass_one", b"declip_pass_two"):
        assert name in fatbin or len(fatbin) > 100_000  # compressed sections hide names
