"""What the host does for an image around the model: `python -m benchmarks.host_cost`, on one core.

The model costs nothing. What is left once the disk, the decoder and the resampler cost nothing, too, is Python, which
holds the interpreter's lock: no machine scores more images a second than one in that time.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
from PIL import Image

from declip_rt import Scorer, native
from declip_rt.backends.contract import Engine, EngineInfo, EngineOptions
from declip_rt.backends.host import HostEngine
from declip_rt.bench.machine import Machine
from declip_rt.images import sources
from declip_rt.model.bundle import Bundle
from declip_rt.stats import Stats

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
SIDE, IMAGES, REPEATS = 500, 600, 7


def free_engine(bundle: Bundle, options: EngineOptions, stats: Stats) -> Engine:
    """Gives the same outputs for each batch."""
    scores = np.full((options.host_batch, len(bundle.heads)), 0.5, np.float32)
    features = np.zeros((options.host_batch, bundle.manifest.features), np.float32)
    info = EngineInfo("cpu", None, "nothing", "fp32", options.host_batch, 3)
    return HostEngine(
        lambda pixels: [each[: len(pixels)] for each in (scores, features, features)], bundle, info, 1, stats, "nothing"
    )


def photos(folder: Path) -> list[str]:
    """IMAGES JPEGs of SIDE pixels squared, of few files, so that the disk does not count."""
    paths = []
    for path in sorted(PHOTOS.glob("*.jpg")):
        made = folder / path.name
        Image.open(path).convert("RGB").resize((SIDE, SIDE)).save(made, quality=90)
        paths.append(str(made))
    return [paths[i % len(paths)] for i in range(IMAGES)]


def giving(value: object) -> Callable[..., object]:
    """Takes anything, and gives the value at once, which a Mock would not."""
    return lambda *_, **__: value


def microseconds(scorer: Scorer, paths: list[str]) -> float:
    """The least time for an image."""
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        assert sum(1 for _ in scorer.score_many(paths)) == len(paths)
        found.append(time.perf_counter() - began)
    return min(found) / len(paths) * 1e6


def main() -> int:
    argparse.ArgumentParser("python -m benchmarks.host_cost", description=__doc__).parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(
        f"{datetime.date.today()}, {Machine.here()}; JPEGs of {SIDE}x{SIDE}; the least of {REPEATS} times, us an image"
    )
    pixels, compiled = np.zeros((SIDE, SIDE, 3), np.uint8), native._native
    idle = SimpleNamespace(resample_into=giving(None), best_level=giving(0), read_jpeg=compiled.read_jpeg)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as instead:
        paths = photos(Path(folder))
        content = sources.read(paths[0])
        instead.enter_context(mock.patch("declip_rt.scorer.open_engine", free_engine))
        scorer = instead.enter_context(Scorer(device="cpu", workers=1))
        print(f"read, decoded, resampled, scored: {microseconds(scorer, paths):.0f}")
        instead.enter_context(mock.patch("simplejpeg.decode_jpeg", giving(pixels)))
        print(f"of which no pixels are decoded: {microseconds(scorer, paths):.0f}")
        instead.enter_context(mock.patch.object(native, "_native", idle))
        print(f"nor resampled: {microseconds(scorer, paths):.0f}")
        instead.enter_context(mock.patch.object(sources, "read", giving(content)))
        print(f"nor files read, which leaves Python: {microseconds(scorer, paths):.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
