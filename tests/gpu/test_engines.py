"""Every GPU engine that is installed scores as the reference does, whatever the batch, and leaks nothing."""

from __future__ import annotations

import numpy as np

from declip_rt import Bundle
from declip_rt.backends import parity
from declip_rt.backends.contract import Engine
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.devices import list_devices
from declip_rt.model.manifest import LIMITS
from declip_rt.pipeline import Pipeline, Slot
from tests.backends.contract import Contract

BATCHES = 60 if list_devices() else 15  # the simulated GPU is slow, and counts every byte


class TestContract(Contract):
    """Whatever is installed."""


def test_it_passes_the_parity_gate(engine: Engine, bundle: Bundle) -> None:
    passed = parity.prove(engine, bundle)
    assert passed.keeps(LIMITS[engine.info.precision])


def test_memory_is_flat(engine: Engine, bundle: Bundle, context: Context) -> None:
    views = parity.pictures(bundle.views)

    def place(item: int, slot: Slot) -> None:
        slot.memory[...] = views[item % len(views)]

    pipeline = Pipeline[int, int, None](engine, lambda item: item, place, 4)

    def scores(n: int) -> np.ndarray:
        rows = [done.outputs.scores[done.row] for done in pipeline.run(range(n)) if done.outputs]
        return np.array(rows)

    first = scores(engine.info.batch * 6)
    free = context.free()[0]
    again = scores(engine.info.batch * BATCHES)
    assert np.abs(again[: len(first)] - first).max() < parity.batch_effect(engine.info.precision)
    assert context.free()[0] >= free - 2**20
