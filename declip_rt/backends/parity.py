"""The parity gate: an engine is used only where it scores as the FP32 reference does."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from declip_rt.backends.contract import Engine, Outputs
from declip_rt.backends.onnxrt.cpu import OnnxEngine
from declip_rt.errors import EngineError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import ViewSpec
from declip_rt.stats import Stats

IMAGES = 8
LEAST_COSINE = 0.999
MOST_CHANGE = 0.01
NEIGHBOURLY = 1e-3  # what batch size and neighbours may change a score by


class Passed(msgspec.Struct, frozen=True):
    """How near an engine came to the reference, on `images` images and in batches of every size."""

    cosine: float  # lowest, of both features
    change: float  # largest, of any score
    images: int


def check(engine: Engine, bundle: Bundle) -> Passed:
    """Lets the engine and ONNX Runtime, in FP32 on the CPU, score the same images.

    Raises:
        EngineError: a cosine is below LEAST_COSINE, a score moved by more than MOST_CHANGE, or it depends on the batch
            by more than NEIGHBOURLY; with the figures. Or ONNX Runtime is missing.
    """
    images = pictures(bundle.views)
    reference = OnnxEngine(bundle, len(images), "fp32", None, Stats())
    try:
        expected = next(_run(reference, images, len(images)))
    finally:
        reference.close()
    found = [
        outputs
        for size in sorted({1, min(engine.batch, 3), min(engine.batch, IMAGES)})
        for outputs in [_joined(_run(engine, images, size))]
    ]
    cosine = min(
        float((getattr(each, name) * getattr(expected, name)).sum(1).min())
        for each in found
        for name in ("perceptual", "semantic")
    )
    change = max(float(np.abs(each.scores - expected.scores).max()) for each in found)
    apart = max(float(np.abs(each.scores - found[0].scores).max()) for each in found)
    if not (cosine >= LEAST_COSINE and change <= MOST_CHANGE and apart <= NEIGHBOURLY):
        raise EngineError(
            f"{engine.device} does not score as the reference does: lowest cosine {cosine:.5f} (at least "
            f"{LEAST_COSINE}), largest change of a score {change:.5f} (at most {MOST_CHANGE}), {apart:.5f} between "
            f"batch sizes (at most {NEIGHBOURLY}); use --precision fp32 or --device cpu, and please report the model"
        )
    return Passed(cosine, change, len(images))


def pictures(views: ViewSpec) -> NDArray[np.uint8]:
    """IMAGES sets of views (N, V, S, S, 3), the same every time: smooth colours, edges, and ever more noise."""
    rng = np.random.default_rng(0)
    count, size = views.shape[:2]
    ramp = np.linspace(0, 2 * np.pi, size)
    made = np.empty((IMAGES, *views.shape), np.uint8)
    for i in range(IMAGES):
        waves = np.sin(ramp[:, None, None] * rng.uniform(0.2, 6, 3) + ramp[:, None] * rng.uniform(0.2, 6, 3))
        noise = rng.normal(0, 4 * i, (count, size, size, 3))
        made[i] = np.clip(128 + 100 * (np.sign(waves) if i % 3 == 2 else waves) + noise, 0, 255)
    return made


def _run(engine: Engine, images: NDArray[np.uint8], size: int) -> Iterator[Outputs]:
    """Batches of `size`, on one lane after another."""
    for number, first in enumerate(range(0, len(images), size)):
        lane = engine.lanes[number % len(engine.lanes)]
        part = images[first : first + size]
        for i, views in enumerate(part):
            lane.slot(i)[...] = views
        lane.launch(len(part))
        yield lane.result()


def _joined(parts: Iterator[Outputs]) -> Outputs:
    rows = [vars(part) for part in parts]
    return Outputs(**{name: np.concatenate([row[name] for row in rows]) for name in rows[0]})
