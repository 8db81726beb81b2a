"""An engine passes the gate only where it scores as the reference does, in batches of any size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from declip_rt import Bundle, EngineError
from declip_rt.backends import parity
from declip_rt.backends.contract import Outputs
from declip_rt.backends.onnxrt.cpu import OnnxEngine
from declip_rt.stats import Stats

Change = Callable[[Outputs], Outputs]


class Changed:
    """The reference itself, with a change of its outputs."""

    def __init__(self, bundle: Bundle, change: Change) -> None:
        self.inner, self.change = OnnxEngine(bundle, 4, "fp32", None, Stats()), change
        self.device, self.batch, self.precision = "a test's engine", 4, "fp32"
        self.lanes = [self]
        self.slot, self.launch = self.inner.lanes[0].slot, self.inner.lanes[0].launch

    def result(self) -> Outputs:
        return self.change(self.inner.lanes[0].result())

    def close(self) -> None:
        self.inner.close()


def moved(by: float) -> Change:
    return lambda found: Outputs(found.scores + np.float32(by), found.perceptual, found.semantic)


def turned(found: Outputs) -> Outputs:
    return Outputs(found.scores, found.perceptual[:, ::-1], found.semantic)


def leaning(found: Outputs) -> Outputs:
    return Outputs(found.scores + np.float32(0.002) * (len(found.scores) - 1), found.perceptual, found.semantic)


def test_the_reference_passes(bundle: Bundle) -> None:
    passed = parity.check(Changed(bundle, moved(0.005)), bundle)
    assert passed.cosine == pytest.approx(1, abs=1e-5)
    assert passed.change == pytest.approx(0.005, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (moved(0.011), r"change of a score 0\.011"),
        (turned, "lowest cosine"),
        (leaning, r"0\.006\d* between batch sizes"),
    ],
)
def test_others_are_refused_with_figures(change: Change, said: str, bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=rf"a test's engine does not score as the reference does: .*{said}.*report"):
        parity.check(Changed(bundle, change), bundle)


def test_the_pictures_differ_and_are_the_same_every_time(bundle: Bundle) -> None:
    first = parity.pictures(bundle.views)
    assert np.array_equal(first, parity.pictures(bundle.views))
    assert first.std((1, 2, 3, 4)).min() > 20
    assert len({each.tobytes() for each in first}) == len(first)
