"""Every GPU engine that is installed scores as the reference does, whatever the batch, and leaks nothing."""

from __future__ import annotations

import numpy as np

from declip_rt import Bundle
from declip_rt.backends import parity
from declip_rt.backends.contract import Engine
from declip_rt.backends.cuda.context import Context
from declip_rt.pipeline import Slot, run

BATCHES = 60


def test_it_passes_the_parity_gate(engine: Engine, bundle: Bundle) -> None:
    passed = parity.check(engine, bundle)
    assert passed.cosine >= parity.LEAST_COSINE
    assert passed.change <= parity.MOST_CHANGE


def test_memory_is_flat(engine: Engine, bundle: Bundle, context: Context) -> None:
    views = parity.pictures(bundle.views)

    def prepare(item: int, take: object) -> None:
        slot: Slot = take()  # type: ignore[operator]
        slot.memory[...] = views[item % len(views)]

    def scores(n: int) -> np.ndarray:
        rows = [done.outputs.scores[done.row] for done in run(range(n), prepare, engine, 4) if done.outputs]
        return np.array(rows)

    first = scores(engine.batch * 6)
    free = context.free()[0]
    again = scores(engine.batch * BATCHES)
    assert np.abs(again[: len(first)] - first).max() < parity.NEIGHBOURLY
    assert context.free()[0] >= free - 2**20
