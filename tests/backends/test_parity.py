"""An engine passes the gate only where it scores as the reference does, in batches of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from declip_rt import Bundle, ParityError, Unavailable
from declip_rt.backends import parity
from declip_rt.backends.contract import EngineOptions, Outputs
from declip_rt.backends.onnxrt.cpu import open_onnx
from declip_rt.stats import Stats

Change = Callable[[Outputs], Outputs]


class Changed:
    """The reference itself, with a change of its outputs."""

    def __init__(self, bundle: Bundle, change: Change, batch: int = 4) -> None:
        options = EngineOptions(device="cpu", precision="fp32", batch=batch)
        self.inner, self.change = open_onnx(bundle, options, Stats()), change
        self.info = replace(self.inner.info, name="a test's engine")
        self.lanes = [self]
        self.slot, self.launch = self.inner.lanes[0].slot, self.inner.lanes[0].launch

    def result(self) -> Outputs:
        return self.change(self.inner.lanes[0].result())

    @property
    def is_closed(self) -> bool:
        return self.inner.is_closed

    def close(self) -> None:
        self.inner.close()


def moved(by: float) -> Change:
    return lambda found: Outputs(found.scores + np.float32(by), found.perceptual, found.semantic)


def turned(found: Outputs) -> Outputs:
    return Outputs(found.scores, found.perceptual[:, ::-1], found.semantic)


def leaning(found: Outputs) -> Outputs:
    return Outputs(found.scores + np.float32(0.002) * (len(found.scores) - 1), found.perceptual, found.semantic)


def test_the_reference_passes(bundle: Bundle) -> None:
    engine = Changed(bundle, moved(0.005))
    passed = parity.prove(engine, bundle)
    assert not engine.is_closed
    engine.close()
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
    engine = Changed(bundle, change)
    with pytest.raises(ParityError, match=rf"a test's engine, fp32\) does not score as the .* does: .*{said}.*report"):
        parity.prove(engine, bundle)
    assert engine.is_closed


@pytest.mark.parametrize("batch", [4, 9, 20])
def test_the_batch_of_the_engine_is_proven_itself(batch: int, bundle: Bundle) -> None:
    """A plan has kernels of its own for each batch size."""

    def wrong_when_full(found: Outputs) -> Outputs:
        return moved(0.5)(found) if len(found.scores) == batch else found

    with pytest.raises(ParityError, match=r"a test's engine"):
        parity.prove(Changed(bundle, wrong_when_full, batch), bundle)
    parity.prove(Changed(bundle, moved(0), batch), bundle)


def test_without_the_reference_an_engine_is_closed_but_not_called_wrong(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Changed(bundle, moved(0))

    def unavailable(*_: object) -> None:
        raise Unavailable("not installed")

    monkeypatch.setattr(parity, "open_onnx", unavailable)
    with pytest.raises(Unavailable):
        parity.prove(engine, bundle)
    assert engine.is_closed


def test_the_pictures_differ_and_are_the_same_every_time(bundle: Bundle) -> None:
    first = parity.pictures(bundle.views)
    assert np.array_equal(first, parity.pictures(bundle.views))
    assert first.std((1, 2, 3, 4)).min() > 20
    assert len({each.tobytes() for each in first}) == len(first)
