"""How long the CUDA kernels take to cut a frame's views: `python -m benchmarks.gpu_views [WIDTHxHEIGHT...]`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from declip_rt import Bundle
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.frames import Frames

SIZES = ("500x500", "1920x1080", "3840x2160", "4000x3000")
RUNS = 20


@dataclass
class Frame:
    """RGB uint8 on the GPU, of whatever is in its memory."""

    memory: Any
    width: int
    height: int
    __cuda_array_interface__: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        facts = {"data": (int(self.memory.handle), True), "shape": (self.height, self.width, 3)}
        self.__cuda_array_interface__ = facts | {"typestr": "|u1", "strides": None, "version": 3, "stream": None}


def milliseconds(context: Context, bundle: Bundle, width: int, height: int) -> float:
    """A frame's, with the copy of its table; the shortest of RUNS."""
    stream, began, done = context.stream(), context.event(), context.event()
    frames, times = Frames(context, bundle.views, stream), []
    with context.current():
        frame = Frame(context.memory(3 * width * height, stream), width, height)
        pixels = context.memory(3 * len(bundle.views.placements) * bundle.views.size**2, stream)
        for _ in range(RUNS):
            frames.put(0, frame)
            stream.record(began)
            frames.write(int(pixels.handle), 1)
            stream.record(done)
            done.sync()
            times.append(done - began)
        frames.close()
    return min(times)


def main(sizes: list[str]) -> None:
    context, bundle = Context(0), Bundle()
    for size in sizes or SIZES:
        width, height = map(int, size.split("x"))
        print(
            f"{context.name}, {size}, {len(bundle.views.placements)} views: "
            f"{milliseconds(context, bundle, width, height):.3f} ms"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
