"""Takes frames that are on the GPU into a lane's slots."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.kernels import JOB, Cut, DeviceImage
from declip_rt.backends.cuda.sizes import Size, Sizes
from declip_rt.errors import ImageError
from declip_rt.images.load import OnStream
from declip_rt.model.manifest import ViewSpec
from declip_rt.native import LONGEST

GROUP = 64 * 2**20  # bytes of frames, or of scratch for them, whose views are cut before the batch is full
WEIGHTS = 16 * 2**20  # bytes of weights that are kept: those of about a hundred sizes


@dataclass(frozen=True)
class _Taken:
    """A frame that a kernel reads, or will."""

    view: Any  # what keeps it alive
    image: DeviceImage
    size: Size
    thread: int  # which gave it

    @property
    def bytes(self) -> int:
        return max(3 * self.image.height * self.image.width, self.size.layout.scratch)


class Frames:
    """The frames of one batch. Kernels cut their views on the GPU, bit by bit as the CPU does.

    Small frames are cut together, by `write`. Of large ones two groups of GROUP bytes are held at most: `put` cuts a
    group that is full, and lets the group before it go once its views are cut.

    batch: the frames that one launch takes. pixels: the address of all views, if it is known before `write`.
    """

    def __init__(
        self, context: Context, views: ViewSpec, stream: Any, batch: int = 32, pixels: int | None = None
    ) -> None:
        self._context, self._views, self._stream, self._batch, self._pixels = context, views, stream, batch, pixels
        self._slots = set[int]()  # those with a frame
        self._waiting: dict[int, _Taken] = {}  # slot -> its frame, whose views are not yet cut
        self._groups = deque[tuple[Any, list[_Taken]]]()  # whose views are being cut, each with the event of its end
        self._gone: list[_Taken] = []  # which no kernel reads, but which are not let go
        self._sizes = Sizes(views)
        self._table, self._pinned = context.pinned((batch, len(views.placements)), JOB)
        self._used = 0  # rows of the table that the GPU may have to read yet
        self._room: dict[str, Any] = {}  # buffers on the GPU; too small ones are replaced
        self._lock = threading.Lock()  # threads that decode on the GPU put frames into one batch

    def __len__(self) -> int:
        """The number of slots with a frame."""
        return len(self._slots)

    def __contains__(self, i: int) -> bool:
        """Whether slot i has a frame. Its views may be there already: nothing else may be written there."""
        return i in self._slots

    def put(self, i: int, frame: object) -> tuple[int, int]:
        """Takes a frame for slot i and returns its width and height in pixels.

        frame: uint8 RGB (H, W, 3) or (3, H, W) of any strides, with `__dlpack__` or `__cuda_array_interface__`, or such
        a one OnStream. It must not change before its score. Raises ImageError for any other.
        """
        with self._lock:
            self._let_go()
        given = frame if isinstance(frame, OnStream) else OnStream(frame, None)
        try:
            view = self._context.view(given.frame, self._stream, given.stream)
        except Exception as error:  # other libraries' arrays fail in their own ways
            if not self._context.is_well(self._stream):
                raise
            why = str(error) or type(error).__name__
            raise ImageError(f"cannot read a {type(given.frame).__name__} on the GPU: {why}") from error
        image = _image(view, self._context.index)
        with self._lock:
            self._forget(i)
            size = self._sizes.of(image.width, image.height)
            self._waiting[i] = _Taken(view, image, size, threading.get_ident())
            self._slots.add(i)
            if self._pixels is not None and sum(each.bytes for each in self._waiting.values()) >= GROUP:
                self._cut(list(self._waiting), self._pixels)
                self._wait()
        return image.width, image.height

    def write(self, pixels: int, n: int) -> None:
        """Queues the kernels that cut what is not yet cut of the frames in the first n slots into `pixels`."""
        with self._lock:
            self._cut([i for i in self._waiting if i < n], pixels)

    def drop(self, i: int) -> None:
        """Forgets the frame of slot i. It is let go by the next `put` in its thread: pycuda frees there alone."""
        with self._lock:
            self._forget(i)

    def clear(self) -> None:
        """Lets the frames go. Call it once they are computed, in the thread that gave them."""
        self._slots.clear()
        self._waiting.clear()
        self._groups.clear()
        self._gone.clear()
        self._used = 0

    def close(self) -> None:
        self.clear()
        self._sizes.trim(self._stream, 0)
        for buffer in (*self._room.values(), self._pinned):
            buffer.close()

    def _forget(self, i: int) -> None:
        self._slots.discard(i)
        if i in self._waiting:
            self._gone.append(self._waiting.pop(i))

    def _let_go(self) -> None:
        """Lets go what this thread gave and no kernel reads."""
        here = threading.get_ident()
        self._gone = [each for each in self._gone if each.thread != here]

    def _wait(self) -> None:
        """Waits until one group is left whose views are being cut."""
        while len(self._groups) > 1:
            self._groups[0][0].sync()
            self._gone += self._groups.popleft()[1]
        self._let_go()

    def _cut(self, slots: Sequence[int], pixels: int) -> None:
        """Queues the kernels for the frames in these slots."""
        for k in range(0, len(slots), self._batch):
            self._cut_together(slots[k : k + self._batch], pixels)
        self._sizes.trim(self._stream, WEIGHTS)

    def _cut_together(self, slots: Sequence[int], pixels: int) -> None:
        new = {self._waiting[i].size: i for i in slots if self._waiting[i].size.weights is None}
        order = [*new.values(), *sorted({*slots} - {*new.values()})]  # the first of each new size come first
        taken = [self._waiting[i] for i in order]
        weights = {size: self._context.memory(size.layout.weights, self._stream) for size in new}
        row = self._views.size**2 * 3 * len(self._views.placements)
        cuts = [
            Cut(each.image, each.size.layout, int(weights.get(each.size, each.size.weights).handle), i * row)
            for i, each in zip(order, taken, strict=True)
        ]
        jobs, scratch = self._queue_table(cuts)
        kernels, size, views = self._context.view_kernels, self._views.size, len(self._views.placements)
        room = int(self._buffer("scratch", scratch).handle)
        longest = max(cut.layout.longest for cut in cuts)
        if new:
            kernels.weigh(self._stream, jobs, len(new) * views, size)
        kernels.cut(self._stream, jobs, len(cuts) * views, size, longest, room, pixels)
        for new_size, buffer in weights.items():
            new_size.weights = buffer
        self._groups.append((self._stream.record(), taken))
        for i in slots:
            del self._waiting[i]

    def _queue_table(self, cuts: Sequence[Cut]) -> tuple[int, int]:
        """Copies the jobs to the GPU. Returns their address there, and the bytes of scratch that they need."""
        if self._used + len(cuts) > len(self._table):  # slots were filled more than once
            self._stream.sync()
            self._used = 0
        rows = self._table[self._used : self._used + len(cuts)]
        offset = self._used * self._table.strides[0]
        self._used += len(cuts)
        scratch = Cut.fill(rows, cuts)
        on_gpu = self._buffer("table", self._table.nbytes)
        source, target = (self._context.part(buffer, offset, rows.nbytes) for buffer in (self._pinned, on_gpu))
        source.copy_to(target, stream=self._stream)
        return int(target.handle), scratch

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
