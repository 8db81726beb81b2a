"""The CUDA kernels that cut views from images of many sizes on the GPU (declip_rt/native/ragged.cu)."""

from __future__ import annotations

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
        ("weights", np.int64),
        ("between", np.int64),
        ("begin", np.int32),
        ("length", np.int32),
        ("taps", np.int32, 2),
    ]
)
THREADS = 256  # of a block
MAX_BLOCKS = 1024  # of a job; where they are too few, a thread does several elements


@dataclass(frozen=True)
class DeviceImage:
    """RGB uint8 on a GPU: its address, its size in pixels, and its strides in bytes (row, pixel, channel)."""

    pointer: int
    height: int
    width: int
    strides: tuple[int, int, int]


@dataclass(frozen=True)
class ViewJobs:
    """A table with a job for each view, and what the kernels need for it."""

    jobs: NDArray[Any]  # JOB, (n,)
    size: int  # a view's side, in pixels
    scratch: int  # bytes of memory on the GPU
    longest: int  # pixels of the longest first pass

    @staticmethod
    def plan(views: Sequence[tuple[DeviceImage, Box, int]], size: int) -> ViewJobs:
        """views: an image, a square of it, and where its view begins in the output, in bytes."""
        jobs = np.zeros(len(views), JOB)
        for job, (image, box, out) in zip(jobs, views, strict=True):
            job["image"], job["strides"], job["size"] = image.pointer, image.strides, (image.height, image.width)
            job["box"], job["out"] = box, out
        scratch, longest = native.lay_out(jobs.view(np.uint8).reshape(len(jobs), JOB.itemsize), size)
        return ViewJobs(jobs, size, scratch, longest)


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

    def launch(self, stream: Any, views: ViewJobs, table: int, scratch: int, out: int) -> None:
        """Queues the kernels. table, scratch, out: addresses of the jobs, of `views.scratch` bytes, of all views."""
        from cuda.core import LaunchConfig, launch

        elements = 2 * views.size, views.longest, views.size**2
        for kernel, count, more in zip(self._kernels, elements, ((), (), (out,)), strict=True):
            blocks = min(-(-count // THREADS), MAX_BLOCKS)
            config = LaunchConfig(grid=(blocks, len(views.jobs)), block=THREADS)
            launch(stream, config, kernel, table, np.int32(views.size), scratch, *more)
