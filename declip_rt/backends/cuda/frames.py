"""Takes frames that are on the GPU into a lane's slots."""

from __future__ import annotations

from typing import Any

import numpy as np

from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.kernels import JOB, DeviceImage, ViewJobs, ViewKernels
from declip_rt.errors import ImageError
from declip_rt.images.load import OnStream
from declip_rt.images.views import boxes
from declip_rt.model.manifest import ViewSpec
from declip_rt.native import LONGEST


class Frames:
    """The frames of one batch. A kernel cuts their views on the GPU, bit by bit as the CPU does."""

    def __init__(self, context: Context, views: ViewSpec, stream: Any) -> None:
        self._context, self._views, self._stream = context, views, stream
        self._held: dict[int, tuple[Any, DeviceImage]] = {}  # slot -> what keeps the frame alive, and its address
        self._gone: list[tuple[Any, DeviceImage]] = []  # forgotten, but not let go
        self._kernels: ViewKernels | None = None
        self._table_of: tuple[Any, Any] | None = None
        self._room: dict[str, Any] = {}  # buffers on the GPU; too small ones are replaced

    def __contains__(self, i: int) -> bool:
        return i in self._held

    def put(self, i: int, frame: object) -> tuple[int, int]:
        """Takes a frame for slot i and returns its width and height in pixels.

        frame: uint8 RGB (H, W, 3) or (3, H, W) of any strides, with `__dlpack__` or `__cuda_array_interface__`, or such
        a one OnStream. It must not change before its score. Raises ImageError for any other.
        """
        self._gone.clear()
        given = frame if isinstance(frame, OnStream) else OnStream(frame, None)
        try:
            view = self._context.view(given.frame, self._stream, given.stream)
        except Exception as error:  # other libraries' arrays fail in their own ways
            if not self._context.is_well(self._stream):
                raise
            why = str(error) or type(error).__name__
            raise ImageError(f"cannot read a {type(given.frame).__name__} on the GPU: {why}") from error
        image = _image(view, self._context.index)
        self._held[i] = view, image
        return image.width, image.height

    def write(self, pixels: int, n: int) -> None:
        """Queues the kernels that cut the views of the frames in the first n slots into `pixels`."""
        frames = [(i, image) for i, (_, image) in self._held.items() if i < n]
        if not frames:
            return
        self._kernels = self._kernels or ViewKernels()
        count, size = len(self._views.placements), self._views.size
        views = ViewJobs.plan(
            [
                (image, box, (i * count + v) * size * size * 3)
                for i, image in frames
                for v, box in enumerate(boxes(self._views, image.width, image.height))
            ],
            size,
        )
        table, pinned = self._table(len(views.jobs))
        table[: len(views.jobs)] = views.jobs
        on_gpu = self._buffer("table", table.nbytes)
        pinned.copy_to(on_gpu, stream=self._stream)
        scratch = self._buffer("scratch", views.scratch)
        self._kernels.launch(self._stream, views, int(on_gpu.handle), int(scratch.handle), pixels)

    def drop(self, i: int) -> None:
        """Forgets the frame of slot i. The next `put` or `clear` lets it go: pycuda frees in its own thread."""
        if i in self._held:
            self._gone.append(self._held.pop(i))

    def clear(self) -> None:
        """Lets the frames go. Call it once they are computed, in the thread that gave them."""
        self._held.clear()
        self._gone.clear()

    def close(self) -> None:
        self.clear()
        for buffer in (*self._room.values(), *(self._table_of or ())[1:]):
            buffer.close()

    def _table(self, count: int) -> tuple[Any, Any]:
        """Pinned memory for at least `count` jobs: an array and its buffer."""
        if self._table_of is None or len(self._table_of[0]) < count:
            self._table_of = self._context.pinned((count,), JOB)
        return self._table_of

    def _buffer(self, name: str, size: int) -> Any:
        """Memory on the GPU of at least `size` bytes, for the work that is queued next."""
        if name not in self._room or self._room[name].size < size:
            if name in self._room:
                self._room[name].close(self._stream)
            self._room[name] = self._context.memory(size, self._stream)
        return self._room[name]


def _image(view: Any, index: int) -> DeviceImage:
    if not view.is_device_accessible or view.device_id != index:
        raise ImageError(f"the frame is on device {view.device_id}, and the scorer on cuda:{index}; copy it there")
    shape = tuple(view.shape)
    if view.dtype != np.uint8 or len(shape) != 3 or 3 not in (shape[0], shape[2]) or 0 in shape:
        raise ImageError(
            f"a frame on the GPU must be RGB uint8 (H, W, 3) or (3, H, W); this one is {view.dtype} {shape}"
        )
    strides = view.strides or (shape[1] * shape[2], shape[2], 1)  # in bytes; None means C-contiguous
    if max(shape) > LONGEST:
        raise ImageError(f"a frame of {shape} has a side of more than {LONGEST:,} pixels; cut it first")
    row, pixel, channel = (0, 1, 2) if shape[2] == 3 else (1, 2, 0)
    return DeviceImage(view.ptr, shape[row], shape[pixel], (strides[row], strides[pixel], strides[channel]))
