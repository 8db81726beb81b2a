"""The CUDA kernels that cut views from images of many sizes on the GPU (declip_rt/native/ragged.cu)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from declip_rt import native
from declip_rt.errors import EngineError
from declip_rt.images.views import Box

JOB = np.dtype(  # struct Job of ragged.h; native.lay_out fills in the fields after `out`
    [
        ("image", np.uint64),
        ("strides", np.int64, 3),
        ("size", np.int32, 2),
        ("box", np.float32, 4),
        ("out", np.int64),
        ("weights", np.uint64),
        ("between", np.int64),
        ("begin", np.int32),
        ("length", np.int32),
        ("taps", np.int32, 2),
        ("tile", np.int32, 2),
    ]
)
BLOCK = 32, 8  # threads; the first pass gives each row of a tile (kRows in ragged.h) a warp
MAX_BLOCKS = 1024  # of a job; where they are too few, a thread does several elements


@dataclass(frozen=True)
class DeviceImage:
    """RGB uint8 on a GPU: its address, its size in pixels, and its strides in bytes (row, pixel, channel)."""

    pointer: int
    height: int
    width: int
    strides: tuple[int, int, int]


@dataclass(frozen=True)
class ViewLayout:
    """How the views of images of one size are cut."""

    jobs: NDArray[Any]  # JOB, (V,), of no image; places count from 0
    weights: int  # bytes of memory on the GPU, which all images of this size share
    scratch: int  # bytes of memory on the GPU, for each image
    longest: int  # pixels of the longest first pass

    @staticmethod
    def of(boxes: Sequence[Box], width: int, height: int, size: int) -> ViewLayout:
        """boxes: squares of an image of `width` x `height` pixels. size: a view's side in pixels."""
        jobs = np.zeros(len(boxes), JOB)
        jobs["size"], jobs["box"], jobs["out"] = (height, width), boxes, np.arange(len(boxes)) * size * size * 3
        return ViewLayout(jobs, *native.lay_out(jobs.view(np.uint8).reshape(len(jobs), JOB.itemsize), size))


@dataclass(frozen=True)
class Cut:
    """An image whose views are to be cut."""

    image: DeviceImage
    layout: ViewLayout
    weights: int  # their address
    out: int  # bytes from the start of all views to its first

    @staticmethod
    def fill(table: NDArray[Any], cuts: Sequence[Cut]) -> int:
        """Writes the jobs of images into a table, and returns the bytes of scratch that they need.

        table: JOB (len(cuts), V), C-contiguous.
        """
        raw = [cut.layout.jobs.view(np.uint8) for cut in cuts]  # NumPy copies records field by field
        np.concatenate(raw, out=table.reshape(-1).view(np.uint8))
        table["image"] = np.array([cut.image.pointer for cut in cuts], np.uint64)[:, None]
        table["strides"] = np.array([cut.image.strides for cut in cuts])[:, None]
        table["weights"] += np.array([cut.weights for cut in cuts], np.uint64)[:, None]
        table["out"] += np.array([cut.out for cut in cuts])[:, None]
        scratch = np.cumsum([0, *(cut.layout.scratch for cut in cuts)])
        table["between"] += scratch[:-1, None]
        return int(scratch[-1])


class ViewKernels:
    """The kernels, loaded in the current context. Raises EngineError where declip-rt was built without them."""

    def __init__(self) -> None:
        from cuda.core import ObjectCode

        fatbin = native.fatbin()
        if not fatbin:
            raise EngineError(
                "this declip-rt was built without CUDA kernels, which frames on a GPU need: "
                "install it again where nvcc is on the PATH"
            )
        code = ObjectCode.from_fatbin(fatbin)
        self._kernels = [code.get_kernel(f"declip_{name}") for name in ("weigh", "pass_one", "pass_two")]

    def weigh(self, stream: Any, jobs: int, count: int, size: int) -> None:
        """Queues the kernel that computes the weights of `count` jobs. jobs: the address of their table."""
        self._queue(0, stream, 2 * size, count, jobs, np.int32(size))

    def cut(self, stream: Any, jobs: int, count: int, size: int, longest: int, scratch: int, out: int) -> None:
        """Queues the kernels that cut views, whose weights are there. scratch, out: addresses, out of all views."""
        self._queue(1, stream, longest, count, jobs, np.int32(size), scratch)
        self._queue(2, stream, size**2, count, jobs, np.int32(size), scratch, out)

    def _queue(self, kernel: int, stream: Any, elements: int, count: int, *arguments: Any) -> None:
        from cuda.core import LaunchConfig, launch

        blocks = min(-(-elements // math.prod(BLOCK)), MAX_BLOCKS)
        launch(stream, LaunchConfig(grid=(blocks, count), block=BLOCK), self._kernels[kernel], *arguments)
