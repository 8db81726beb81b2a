"""The parity gate: an engine is used only where it scores as the FP32 reference does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from declip_rt.backends.contract import Engine, EngineOptions, Outputs, Precision
from declip_rt.backends.onnxrt.cpu import open_onnx
from declip_rt.errors import DeclipError, EngineError, ParityError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import LIMITS, Parity, ViewSpec
from declip_rt.stats import Stats

IMAGES = 8
BATCH_EFFECT = 1e-3  # the most that batch size and neighbours may change a score; see `batch_effect`


class Proof(msgspec.Struct, frozen=True):
    """What a comparison found. apart: the largest change of a score between batch sizes."""

    parity: Parity
    apart: float


def prove(engine: Engine, bundle: Bundle) -> Parity:
    """Measures and checks the engine. Raises what they raise, and closes an engine that fails."""
    proof = measure(engine, bundle)
    check(engine, proof)
    return proof.parity


def measure(engine: Engine, bundle: Bundle) -> Proof:
    """Compares the engine with ONNX Runtime on the CPU, on the same images. Closes an engine that fails.

    The reference runs the FP32 graph; of INT8 it is the INT8 graph, which was compared with FP32 when it was exported.

    Raises:
        ParityError: the engine's outputs are not finite.
        DeclipError: the engine or the reference cannot run.
    """
    try:
        return _measure(engine, bundle)
    except DeclipError:
        engine.close()
        raise


def check(engine: Engine, proof: Proof) -> None:
    """Raises ParityError, with the figures, where they do not keep to the limits. Closes the engine then.

    The limits are those of its precision in LIMITS, but for the ranks, and `batch_effect` between batch sizes.
    """
    info = engine.info
    limits = LIMITS["fp32"] if info.precision == "int8" else replace(LIMITS[info.precision], srcc=None)
    apart = batch_effect(info.precision)
    if not (proof.parity.keeps(limits) and proof.apart <= apart):
        engine.close()
        raise ParityError(
            f"{info} does not score as the reference does: {proof.parity}, {proof.apart:.5f} between batch sizes; it "
            f'must keep to: {limits}, {apart} between batch sizes; use `precision="fp32"` or `device="cpu"`, '
            "and please report the model"
        )


def batch_effect(precision: str) -> float:
    """The most that batch size and neighbours may change a score.

    In FP16, bf16 and FP8, kernels for other batches round other sums: it is half of what the precision may change.
    """
    return LIMITS[precision].change / 2 if precision in ("fp16", "bf16", "fp8") else BATCH_EFFECT


def _measure(engine: Engine, bundle: Bundle) -> Proof:
    images, info = pictures(bundle.views), engine.info
    precision: Precision = "int8" if info.precision == "int8" else "fp32"
    options = EngineOptions(device="cpu", precision=precision, batch=len(images))
    with closing(open_onnx(bundle, options, Stats())) as reference:
        try:
            expected = vars(compute(reference, images, len(images)))
        except ParityError as error:  # which says nothing of the engine
            raise EngineError(f"the reference cannot be compared with: {error}") from error
    sizes = sorted({1, min(info.batch, 3), min(info.batch, IMAGES), info.batch})
    found = [_first(IMAGES, vars(compute(engine, _filling(images, size), size))) for size in sizes]
    each = [compare(outputs, expected) for outputs in found]
    parity = Parity(len(images), max(p.change for p in each), min(p.cosine for p in each if p.cosine is not None))
    apart = max(float(np.abs(outputs["scores"] - found[0]["scores"]).max()) for outputs in found)
    return Proof(parity, apart)


def _filling(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The images, again and again until they fill a batch: each batch size has kernels of its own."""
    filling: NDArray[np.uint8] = np.resize(images, (max(size, len(images)), *images.shape[1:]))
    return filling


def _first(n: int, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: rows[:n] for name, rows in outputs.items()}


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


def compute(engine: Engine, images: NDArray[np.uint8], size: int) -> Outputs:
    """What the engine gives for sets of views (N, V, S, S, 3), in batches of `size`, on one lane after another."""
    rows = [vars(part) for part in _run(engine, images, size)]
    return Outputs(**{name: np.concatenate([row[name] for row in rows]) for name in rows[0]})


def _run(engine: Engine, images: NDArray[np.uint8], size: int) -> Iterator[Outputs]:
    for number, first in enumerate(range(0, len(images), size)):
        lane = engine.lanes[number % len(engine.lanes)]
        part = images[first : first + size]
        for i, views in enumerate(part):
            lane.slot(i)[...] = views
        lane.launch(len(part))
        yield lane.result()
