"""The parity gate: an engine is used only where it scores as the FP32 reference does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends.contract import Engine, EngineOptions, Outputs
from declip_rt.backends.onnxrt.cpu import open_onnx
from declip_rt.errors import DeclipError, EngineError, ParityError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import LIMITS, Parity, ViewSpec
from declip_rt.stats import Stats

IMAGES = 8
BATCH_EFFECT = 1e-3  # the most that batch size and neighbours may change a score


def prove(engine: Engine, bundle: Bundle) -> Parity:
    """Compares the engine with ONNX Runtime in FP32 on the CPU, on the same images. Closes an engine that fails.

    Raises:
        ParityError: the engine's outputs are not finite, do not keep to LIMITS of its precision, or change with the
            batch by more than BATCH_EFFECT. The message has the figures.
        DeclipError: the engine or the reference cannot run.
    """
    try:
        return _measure(engine, bundle)
    except DeclipError:
        engine.close()
        raise


def _measure(engine: Engine, bundle: Bundle) -> Parity:
    images, info = pictures(bundle.views), engine.info
    options = EngineOptions(device="cpu", precision="fp32", batch=len(images))
    with closing(open_onnx(bundle, options, Stats())) as reference:
        try:
            expected = vars(_join(_run(reference, images, len(images))))
        except ParityError as error:  # which says nothing of the engine
            raise EngineError(f"the reference cannot be compared with: {error}") from error
    sizes = sorted({1, min(info.batch, 3), min(info.batch, IMAGES)})
    found = [vars(_join(_run(engine, images, size))) for size in sizes]
    each = [compare(outputs, expected) for outputs in found]
    parity = Parity(len(images), max(p.change for p in each), min(p.cosine for p in each if p.cosine is not None))
    apart = max(float(np.abs(outputs["scores"] - found[0]["scores"]).max()) for outputs in found)
    limits = LIMITS[info.precision]
    if not (parity.keeps(limits) and apart <= BATCH_EFFECT):
        raise ParityError(
            f"{info} does not score as the reference does: {parity}, {apart:.5f} between batch sizes; it must keep to: "
            f'{limits}, {BATCH_EFFECT} between batch sizes; use `precision="fp32"` or `device="cpu"`, '
            "and please report the model"
        )
    return parity


def compare(ours: Mapping[str, NDArray[Any]], reference: Mapping[str, NDArray[Any]]) -> Parity:
    """The parity of two graphs' outputs: scores (n, K); perceptual and semantic (n, D), unit vectors."""
    cosines = [(ours[name] * reference[name]).sum(1).min() for name in ("perceptual", "semantic")]
    change = np.abs(ours["scores"] - reference["scores"]).max()
    return Parity(len(ours["scores"]), float(change), float(np.min(cosines)))  # NaN stays


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
    """Computes the images in batches of `size`, on one lane after another."""
    for number, first in enumerate(range(0, len(images), size)):
        lane = engine.lanes[number % len(engine.lanes)]
        part = images[first : first + size]
        for i, views in enumerate(part):
            lane.slot(i)[...] = views
        lane.launch(len(part))
        yield lane.result()


def _join(parts: Iterable[Outputs]) -> Outputs:
    rows = [vars(part) for part in parts]
    return Outputs(**{name: np.concatenate([row[name] for row in rows]) for name in rows[0]})
