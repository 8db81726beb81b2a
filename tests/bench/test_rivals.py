"""Rivals compute what declip-rt computes, or are not measured."""

from __future__ import annotations

import numpy as np
import pytest

from declip_rt import Bundle, EngineError
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Device, Engine, EngineOptions, Floats
from declip_rt.bench import rivals
from declip_rt.bench.rivals import HostLane, Rival, Task

CPU = Device("cpu")


def of(bundle: Bundle, batch: int = 3) -> Floats:
    """declip-rt's scores."""
    engine = open_engine(bundle, EngineOptions(device="cpu", batch=batch))
    try:
        return rivals.scores(engine, bundle.views)
    finally:
        engine.close()


def fake(bundle: Bundle, scores: Floats, precision: str = "fp32") -> Engine:
    """A rival that gives these scores."""
    lane = HostLane(np.zeros((len(scores), *bundle.views.shape), np.uint8), lambda pixels: [scores, scores, scores])
    return Rival(Task(bundle, CPU, len(scores), precision), "made up", precision, [lane])


@pytest.mark.parametrize(
    ("precision", "change", "passes"),
    [("fp32", 0.0005, True), ("fp32", 0.002, False), ("fp16", 0.002, True), ("fp16", 0.02, False)],
)
def test_a_rival_that_scores_otherwise_is_refused(bundle: Bundle, precision: str, change: float, passes: bool) -> None:
    ours = of(bundle)
    rival = fake(bundle, ours + np.float32(change), precision)
    if passes:
        assert rivals.compare(rival, ours, "fp32", bundle.views) == pytest.approx(change, rel=1e-2)
    else:
        with pytest.raises(EngineError, match="is not measured: its scores differ"):
            rivals.compare(rival, ours, "fp32", bundle.views)


def test_a_rival_that_fails_is_an_engine_error(bundle: Bundle) -> None:
    def fail(pixels: object) -> list[object]:
        raise RuntimeError("no compiler\nand a long trace")

    lane = HostLane(np.zeros((1, *bundle.views.shape), np.uint8), fail)
    rival = Rival(Task(bundle, CPU, 1, "fp32"), "made up", "fp32", [lane])
    with pytest.raises(EngineError, match=r"no compiler$"):
        rivals.scores(rival, bundle.views)


def test_the_pictures_that_are_compared_differ(bundle: Bundle) -> None:
    assert len(np.unique(of(bundle), axis=0)) == 3, "else rows in disorder would pass"
