"""A lane's outputs: on the GPU, where a network writes them, and in pinned memory, where they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from declip_rt.backends.contract import Outputs
from declip_rt.backends.cuda.context import ALIGNMENT, Context


class Results:
    """The outputs of each bucket begin at the same place, and lie without gaps: one copy has them, and no more.

    widths: the columns of each output, by name.
    """

    def __init__(self, context: Context, widths: Mapping[str, int], buckets: Sequence[int], stream: Any) -> None:
        self._context, self._stream, self._widths = context, stream, widths
        layouts = {bucket: _lay_out(widths, bucket) for bucket in buckets}
        self._sizes = {bucket: size for bucket, (_, size) in layouts.items()}
        self._rows, self._pinned = context.pinned((max(self._sizes.values()),))
        self._on_gpu = context.memory(max(self._sizes.values()), stream)
        self._offsets = {bucket: offsets for bucket, (offsets, _) in layouts.items()}

    def addresses(self, bucket: int) -> dict[str, int]:
        """Where a network writes a batch of this bucket: name -> float32 (bucket, width)."""
        return {name: int(self._on_gpu.handle) + offset for name, offset in self._offsets[bucket].items()}

    def copy_out(self, bucket: int) -> None:
        """Queues the copy into pinned memory."""
        source, target = (self._context.part(each, 0, self._sizes[bucket]) for each in (self._on_gpu, self._pinned))
        source.copy_to(target, stream=self._stream)

    def read(self, bucket: int, n: int) -> Outputs:
        """The first n rows, once they are copied."""
        return Outputs(**{name: self._of(name, bucket)[:n].copy() for name in self._widths})

    def _of(self, name: str, bucket: int) -> Any:
        width, offset = self._widths[name], self._offsets[bucket][name]
        return self._rows[offset : offset + bucket * width * 4].view(np.float32).reshape(bucket, width)

    def close(self) -> None:
        self._on_gpu.close()
        self._pinned.close()


def _lay_out(widths: Mapping[str, int], rows: int) -> tuple[dict[str, int], int]:
    """Where each output begins, and the size of all, in bytes."""
    offsets, size = {}, 0
    for name, width in widths.items():
        offsets[name] = size
        size += -(-rows * width * 4 // ALIGNMENT) * ALIGNMENT
    return offsets, size
