"""The native resampler beside Pillow and beside the memory's speed, on one core: `python -m benchmarks.resampler`."""

from __future__ import annotations

import argparse
import datetime
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from declip_rt import native
from declip_rt.bench.machine import Machine

SIZES = ((512, 384), (1024, 768), (4000, 3000), (6000, 4000))  # width, height
SIDE = 224
REPEATS = 9


def milliseconds(task: Callable[[], object]) -> float:
    """The shortest of REPEATS times."""
    number = max(1, int(0.05 / max(timeit.timeit(task, number=1), 1e-6)))
    return min(timeit.repeat(task, number=number, repeat=REPEATS)) / number * 1000


def row(width: int, height: int) -> str:
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image, out = Image.fromarray(rgb), np.empty((1, SIDE, SIDE, 3), np.uint8)
    left, top = (width - min(width, height)) / 2, (height - min(width, height)) / 2
    box = (left, top, width - left, height - top)
    ours = milliseconds(lambda: native.resample_into(rgb, [box], out))
    theirs = milliseconds(lambda: image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box))
    assert np.array_equal(out[0], image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box))
    square = np.ascontiguousarray(rgb[:, int(left) : width - int(left)]).reshape(-1)
    square = square[: len(square) // 8 * 8].view(np.uint64)
    reading = milliseconds(lambda: np.bitwise_or.reduce(square))
    return f"| {width}x{height} | {theirs:.2f} | {ours:.2f} | **{theirs / ours:.1f}x** | {reading / ours:.0%} |"


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.resampler", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there, as Markdown")
    options = parser.parse_args()
    lines = [
        "# The native resampler",
        "",
        f"`python -m benchmarks.resampler`, {datetime.date.today()}, {Machine.here()}, of which one is used; Pillow "
        f"{PIL.__version__}; instructions: {native.level()}.",
        f"The central square to {SIDE}x{SIDE}, bicubic, equal bytes; the shortest of {REPEATS} times. The last column: "
        "the time in which NumPy reads that square once from memory, as a share of ours.",
        "",
        "| photo | Pillow, ms | declip-rt, ms | | of the memory's speed |",
        "|---|---|---|---|---|",
        *(row(*size) for size in SIZES),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
