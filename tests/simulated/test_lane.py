"""Lanes overlap, pad, and hold nothing of the batch before."""

from __future__ import annotations

import numpy as np
import pytest

from declip_rt import Bundle, EngineError
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Engine
from declip_rt.backends.cuda.lane import _runs
from declip_rt.pipeline import Slot, run
from declip_rt.stats import Stats
from tests.simulated.conftest import Simulation, pixels


@pytest.fixture
def engine(gpu: Simulation, bundle: Bundle) -> Engine:
    made = open_engine(bundle, "tensorrt", 4, lanes=3)
    yield made
    made.close()


def fill(engine: Engine, lane: int, images: np.ndarray) -> None:
    for i, image in enumerate(images):
        engine.lanes[lane].slot(i)[...] = image


def test_scores_do_not_depend_on_batch_or_neighbours(engine: Engine, bundle: Bundle) -> None:
    images = pixels(1, (4, *bundle.views.shape))
    fill(engine, 0, images)
    engine.lanes[0].launch(4)
    together = engine.lanes[0].result().scores
    for i, image in enumerate(images):
        fill(engine, 1, image[None])
        engine.lanes[1].launch(1)
        assert np.abs(engine.lanes[1].result().scores[0] - together[i]).max() < 1e-3


def test_lanes_in_flight_together_do_not_mix(engine: Engine, bundle: Bundle) -> None:
    batches = [pixels(seed, (4, *bundle.views.shape)) for seed in range(3)]
    alone = []
    for images in batches:
        fill(engine, 0, images)
        engine.lanes[0].launch(4)
        alone.append(engine.lanes[0].result().scores)
    for lane, images in enumerate(batches):
        fill(engine, lane, images)
    for lane in range(3):
        engine.lanes[lane].launch(4)
    for lane in (2, 0, 1):
        assert np.array_equal(engine.lanes[lane].result().scores, alone[lane])


def test_a_result_outlives_the_next_launch(engine: Engine, bundle: Bundle) -> None:
    fill(engine, 0, pixels(0, (2, *bundle.views.shape)))
    engine.lanes[0].launch(2)
    first = engine.lanes[0].result()
    kept = first.scores.copy()
    fill(engine, 0, pixels(9, (2, *bundle.views.shape)))
    engine.lanes[0].launch(2)
    engine.lanes[0].result()
    assert np.array_equal(first.scores, kept)


def test_a_result_without_a_launch_is_an_error(engine: Engine) -> None:
    with pytest.raises(EngineError, match="nothing was launched"):
        engine.lanes[0].result()


def test_copies_of_one_lane_overlap_with_the_kernels_of_another(gpu: Simulation, bundle: Bundle) -> None:
    stats = Stats()
    engine = open_engine(bundle, "tensorrt", 1, lanes=4, stats=stats)
    gpu.reset(slow=0.05)

    def prepare(item: int, take: object) -> None:
        take().memory[...] = item  # type: ignore[operator]

    done = list(run(range(8), prepare, engine, 2))
    assert [each.item for each in done] == list(range(8))
    spans = gpu.spans
    assert [kind for kind in "ico" if sum(span.kind.decode() == kind for span in spans) == 8] == ["i", "c", "o"]
    together = sum(
        min(one.ended, other.ended) > max(one.began, other.began)
        for one in spans
        for other in spans
        if one.kind < other.kind and one.stream != other.stream
    )
    assert together >= 8, "streams wait for one another"
    assert max(span.ended for span in spans) - min(span.began for span in spans) < 0.05 * 8 * 3 * 0.75
    assert stats.seconds["copy in"] >= 0.4
    assert stats.seconds["compute"] >= 0.4
    engine.close()


@pytest.mark.parametrize("kind", ["i", "c", "o"])
def test_a_failure_in_any_stage_ends_the_run_after_the_rows_before_it(
    kind: str, gpu: Simulation, bundle: Bundle
) -> None:
    engine, found = open_engine(bundle, "tensorrt", 2, lanes=3), []

    def prepare(item: int, take: object) -> None:
        take().memory[...] = item  # type: ignore[operator]
        if item == 20:
            gpu.fail(kind)

    with pytest.raises(EngineError, match="may be lost: start again"):
        found.extend(done.item for done in run(range(100), prepare, engine, 2))
    assert found == list(range(len(found)))
    assert 10 <= len(found) <= 20
    engine.close()  # though nothing can be freed on a lost device


def test_only_what_was_filled_is_copied(engine: Engine, gpu: Simulation, bundle: Bundle) -> None:
    gpu.reset()
    fill(engine, 0, pixels(0, (2, *bundle.views.shape)))
    engine.lanes[0].launch(2)
    engine.lanes[0].result()
    assert [span.kind for span in gpu.spans] == [b"i", b"c", b"o"], "one copy in, one launch, one copy out"


@pytest.mark.parametrize(
    ("numbers", "runs"), [([], []), ([0, 1, 2], [(0, 3)]), ([1, 2, 5, 7, 8], [(1, 3), (5, 6), (7, 9)])]
)
def test_runs(numbers: list[int], runs: list[tuple[int, int]]) -> None:
    assert list(_runs(iter(numbers))) == runs


def test_a_slot_is_a_lanes_memory(engine: Engine) -> None:
    assert Slot(engine.lanes[0], 2).memory is not None
    assert np.shares_memory(Slot(engine.lanes[0], 2).memory, engine.lanes[0].slot(2))
