"""What every engine keeps to, whatever computes: on the CPU, on the simulated GPU, and on a real one.

A module that does so has the fixtures `engine` (open, of a batch of 4 and at least two lanes) and `reopen`, which opens
another like it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from declip_rt import Bundle, EngineError
from declip_rt.backends.contract import Engine
from declip_rt.backends.parity import batch_effect

Open = Callable[[], Engine]
BATCH = 4


def pixels(seed: int, bundle: Bundle, n: int = BATCH) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *bundle.views.shape), np.uint8)


def fill(engine: Engine, lane: int, images: np.ndarray) -> None:
    for i, image in enumerate(images):
        engine.lanes[lane].slot(i)[...] = image


def scores(engine: Engine, lane: int, images: np.ndarray) -> np.ndarray:
    fill(engine, lane, images)
    engine.lanes[lane].launch(len(images))
    return engine.lanes[lane].result().scores


class Contract:
    """The tests. Where there is an engine: `class TestContract(Contract)`."""

    def test_it_says_what_it_is(self, engine: Engine) -> None:
        info = engine.info
        assert (info.batch, info.lanes) == (BATCH, len(engine.lanes))
        assert info.lanes >= 2
        assert str(info) == f"{info.where} ({info.name}, {info.precision})"
        assert (info.index is None) == (info.kind in ("cpu", "openvino"))

    def test_a_lane_gives_the_contracts_outputs(self, engine: Engine, bundle: Bundle) -> None:
        fill(engine, 0, pixels(0, bundle, 3))
        engine.lanes[0].launch(3)
        outputs = engine.lanes[0].result()
        assert (outputs.scores.shape, outputs.scores.dtype) == ((3, len(bundle.heads)), np.float32)
        assert (outputs.scores >= 0).all()
        assert (outputs.scores <= 1).all()
        for feature in (outputs.perceptual, outputs.semantic):
            assert feature.shape == (3, bundle.manifest.features)
            assert np.allclose(np.linalg.norm(feature, axis=1), 1, atol=1e-3)

    def test_scores_do_not_depend_on_batch_or_neighbours(self, engine: Engine, bundle: Bundle) -> None:
        images = pixels(1, bundle)
        together = scores(engine, 0, images)
        for i, image in enumerate(images):
            assert np.abs(scores(engine, 1, image[None])[0] - together[i]).max() < batch_effect(engine.info.precision)

    def test_lanes_in_flight_together_do_not_mix(self, engine: Engine, bundle: Bundle) -> None:
        batches = [pixels(seed, bundle, 2 + seed % 3) for seed in range(len(engine.lanes))]
        alone = [scores(engine, 0, images) for images in batches]
        for lane, images in enumerate(batches):
            fill(engine, lane, images)
        for lane, images in enumerate(batches):
            engine.lanes[lane].launch(len(images))
        for lane in reversed(range(len(batches))):
            assert np.abs(engine.lanes[lane].result().scores - alone[lane]).max() < 1e-6

    def test_a_result_outlives_the_next_launch(self, engine: Engine, bundle: Bundle) -> None:
        first = scores(engine, 0, pixels(0, bundle, 2))
        kept = first.copy()
        assert not np.array_equal(scores(engine, 0, pixels(9, bundle, 2)), kept)
        assert np.array_equal(first, kept)

    def test_a_result_without_a_launch_is_an_error(self, engine: Engine) -> None:
        with pytest.raises(EngineError, match="nothing was launched"):
            engine.lanes[0].result()

    def test_a_closed_engine_refuses(self, reopen: Open) -> None:
        engine = reopen()
        lane = engine.lanes[0]
        lane.launch(1)  # which closing waits for
        assert not engine.is_closed
        for _ in range(2):
            engine.close()
            assert engine.is_closed
            assert len(engine.lanes) == 0
        for use in (lambda: lane.slot(0), lambda: lane.put(0, object()), lambda: lane.launch(1), lane.result):
            with pytest.raises(EngineError, match="this engine is closed; open another"):
                use()
