"""The kernels' arithmetic, on a CPU: byte for byte that of the resampler, and so of Pillow."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from declip_rt import native
from declip_rt.backends.cuda.kernels import JOB, Cut, DeviceImage, ViewLayout
from declip_rt.images.views import Box
from declip_rt.native import _native
from tests.conftest import examples, picture

SOURCE = Path(native.__file__).parent
pytestmark = pytest.mark.skipif(native.level() is None, reason="built without a compiler")


def image_of(rgb: np.ndarray) -> DeviceImage:
    return DeviceImage(rgb.ctypes.data, *rgb.shape[:2], rgb.strides)


def cut(images: list[tuple[np.ndarray, Box]], size: int) -> np.ndarray:
    """Each image's view, from memory that held something else."""
    out = np.full((len(images), size, size, 3), 77, np.uint8)
    layouts = [ViewLayout.of([box], rgb.shape[1], rgb.shape[0], size) for rgb, box in images]
    weights = [np.full(layout.weights, 99, np.uint8) for layout in layouts]
    cuts = [
        Cut(image_of(rgb), layout, room.ctypes.data, n * out[0].nbytes)
        for n, ((rgb, _), layout, room) in enumerate(zip(images, layouts, weights, strict=True))
    ]
    table = np.full((len(cuts), 1), 99, JOB)
    scratch = np.full(Cut.fill(table, cuts), 99, np.uint8)
    _native.ragged(table.view(np.uint8).reshape(-1, JOB.itemsize), size, scratch, out)
    return out


def expected(rgb: np.ndarray, box: Box, size: int) -> np.ndarray:
    out = np.empty((1, size, size, 3), np.uint8)
    native.resample_into(rgb, [box], out)
    return out[0]


sides = st.integers(1, 400)


@examples(300)
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


SHAPES = (3000, 40), (40, 3000), (1333, 2000), (224, 224), (100, 100), (60, 500), (4000, 3000), (40_000, 9)


@pytest.mark.parametrize(("width", "height"), SHAPES)
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


@pytest.mark.parametrize("width", [3, 15, 16, 17, 300, 1001])
@pytest.mark.parametrize("gap", [0, 1, 16])
def test_rows_that_begin_anywhere(width: int, gap: int) -> None:
    """Threads read chunks that begin at multiples of 16 bytes; memory around the image is no part of it."""
    rng, height = np.random.default_rng(width), 12
    for at in range(16):
        memory = rng.integers(0, 256, 16 + at + height * (3 * width + gap), np.uint8)
        at += -memory.ctypes.data % 16
        rgb = np.lib.stride_tricks.as_strided(memory[at:], (height, width, 3), (3 * width + gap, 3, 1))
        for turned in (rgb, rgb[::-1]):
            box = Box(width / 3, 0.5, width, height)
            assert np.array_equal(cut([(turned, box)], 40)[0], expected(turned, box, 40)), at


def test_copies_upscaling_and_extremes() -> None:
    """Extremes are where rounding and clipping show."""
    for height, width, size in ((32, 32, 32), (3, 5, 64), (1, 1, 9), (200, 9, 33), (9, 200, 33)):
        rgb = np.random.default_rng(height).choice(np.array([0, 255], np.uint8), (height, width, 3))
        for box in (Box(0, 0, width, height), Box(0.25, 0.5, width - 0.125, height)):
            assert np.array_equal(cut([(rgb, box)], size)[0], expected(rgb, box, size))


@pytest.mark.parametrize("box", [(0, 0, 41, 30), (-1, 0, 10, 10), (5, 5, 5, 9), (0, 0, float("nan"), 9)])
def test_a_box_outside_its_image_is_never_launched(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="empty or leaves its image"):
        cut([(picture(width=40, height=30), Box(*box))], 8)


def test_the_table_is_laid_out_as_the_kernels_read_it() -> None:
    assert JOB.fields is not None
    ours = {name: field[1] for name, field in JOB.fields.items()}
    assert ours | {"all": JOB.itemsize} == _native.job_layout()


def test_pixels_that_kernels_need_are_read_once() -> None:
    """A frame of a camera or a video is staged, whatever its layout; what is taller than wide by far goes by rows."""
    for width, height in ((4000, 3000), (3840, 2160), (1920, 1080), (640, 480), (1080, 1920), (20, 20)):
        side = min(width, height)
        rows, pitch = ViewLayout.of([Box(0, 0, side, side)], width, height, 224).jobs["tile"][0]
        assert rows == min(8, 4096 // pitch)
        assert rows >= 6
    for side, height in ((1000, 3000), (40_000, 40_000)):  # too tall, and too large for a tile
        assert ViewLayout.of([Box(0, 0, side, side)], side, height, 224).jobs["tile"][0][0] == 0


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("g++"), reason="needs g++ with its sanitizers")
def test_threads_of_a_block_wait_for_each_other(tmp_path: Path) -> None:
    """The kernels themselves, on threads of the host."""
    threads, flags = SOURCE.parents[1] / "tests/native/threads.cpp", ["-std=c++20", "-O1", "-g", "-ffp-contract=off"]
    objects = [tmp_path / f"{name}.o" for name in ("views", "columns", "rows")]
    for made in objects:  # which choose their instructions before the sanitizer starts
        subprocess.run(["g++", *flags, "-c", SOURCE / f"{made.stem}.cpp", "-o", made], check=True)
    command = ["g++", *flags, "-fsanitize=thread", f"-I{SOURCE}", threads, *objects, "-o", tmp_path / "threads"]
    subprocess.run(command, check=True)
    done = subprocess.run([tmp_path / "threads"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stdout == "12 photos\n"


needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="NOT RUN: no nvcc on the PATH")


def said(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


@needs_nvcc
def test_nvcc_compiles_them_for_all_gpus() -> None:
    known = said("nvcc", "--list-gpu-code").split()
    wanted = [gpu for gpu in (75, 80, 86, 89, 90, 100, 120) if f"sm_{gpu}" in known]
    assert sections(native.fatbin()) == {("binary", gpu) for gpu in wanted} | {("PTX", wanted[0]), ("PTX", wanted[-1])}


def sections(fatbin: bytes) -> set[tuple[str, int]]:
    """What a fatbin holds, and for which GPU, as `cuobjdump --list-elf --list-ptx` would say."""
    assert fatbin, "built without nvcc, which is here"
    magic, _, at, rest = struct.unpack_from("<IHHQ", fatbin)
    assert (magic, at + rest) == (0xBA55ED50, len(fatbin)), "not a whole fatbin"
    found = set()
    while at < len(fatbin):
        kind, _, header, size, _, _, _, gpu = struct.unpack_from("<HHIQIIII", fatbin, at)
        found.add(({1: "PTX", 2: "binary"}[kind], gpu))
        at += header + size
    return found


@needs_nvcc
def test_no_gpu_may_round_differently(tmp_path: Path) -> None:
    """A compiler, the driver's too, may contract a product and a sum unless both name their rounding."""
    flags = re.search(r"-fatbin (.*) \$\{targets\}", (SOURCE / "kernels.cmake").read_text())
    assert flags, "the build's own flags"
    said("nvcc", "-ptx", *flags[1].split(), SOURCE / "ragged.cu", "-o", tmp_path / "ptx")
    ptx = (tmp_path / "ptx").read_text()
    assert set(re.findall(r"\.entry (\w+)", ptx)) == {"declip_weigh", "declip_pass_one", "declip_pass_two"}
    arithmetic = set(re.findall(r"\b((?:add|sub|mul|div|fma|mad)\.\S*f(?:32|64))\b", ptx))
    assert arithmetic
    assert {each for each in arithmetic if ".rn." not in each or each.startswith(("fma", "mad"))} == set()
