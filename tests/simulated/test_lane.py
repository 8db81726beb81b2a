"""Lanes overlap, pad, and hold nothing of the batch before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from declip_rt import Bundle, EngineError
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Engine, EngineOptions
from declip_rt.backends.cuda.lane import GpuLane, _runs
from declip_rt.backends.parity import compute
from declip_rt.pipeline import Pipeline, Slot
from declip_rt.stats import Stats
from tests.backends.contract import Contract, Open, pixels
from tests.simulated.conftest import Simulation


def place(item: int, slot: Slot) -> None:
    slot.memory[...] = item


@pytest.fixture
def reopen(gpu: Simulation, bundle: Bundle) -> Open:
    return lambda: open_engine(bundle, EngineOptions(device="tensorrt", batch=4, lanes=3))


class TestContract(Contract):
    """TensorRT on the simulated GPU."""


def test_copies_of_one_lane_overlap_with_the_kernels_of_another(gpu: Simulation, bundle: Bundle) -> None:
    stats = Stats()
    engine = open_engine(bundle, EngineOptions(device="tensorrt", batch=1, lanes=4), stats)
    gpu.reset(slow=0.05)

    pipeline = Pipeline[int, int, None](engine, lambda item: item, place, 2)
    done = list(pipeline.run(range(8)))
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
    assert stats.seconds["compute"] >= 8 * 3 * 0.05, "with its copies, as each batch is one graph"
    pipeline.close()


@pytest.mark.parametrize("kind", ["i", "c", "o"])
def test_a_failure_in_any_stage_ends_the_run_after_the_rows_before_it(
    kind: str, gpu: Simulation, bundle: Bundle
) -> None:
    engine, found = open_engine(bundle, EngineOptions(device="tensorrt", batch=2, lanes=3)), []

    def fail(item: int, slot: Slot) -> None:
        place(item, slot)
        if item == 20:
            gpu.fail(kind)

    pipeline = Pipeline[int, int, None](engine, lambda item: item, fail, 2)
    with pytest.raises(EngineError, match="may be lost: start again"):
        found.extend(done.item for done in pipeline.run(range(100)))
    assert found == list(range(len(found)))
    assert 10 <= len(found) <= 20
    pipeline.close()  # though nothing can be freed on a lost device


@pytest.fixture
def watched(gpu: Simulation, bundle: Bundle) -> Iterator[tuple[GpuLane, Stats]]:
    """A lane for batches of 1, 8 and 9, and what it counts."""
    stats = Stats()
    with closing(open_engine(bundle, EngineOptions(device="tensorrt", batch=9, lanes=1), stats)) as engine:
        gpu.reset()
        stats.seconds.update(dict.fromkeys(stats.seconds, 0.0))
        yield engine.lanes[0], stats


@pytest.mark.parametrize(("n", "bucket"), [(1, 1), (8, 8), (9, 9), (3, 8)])
def test_a_batch_that_fills_its_bucket_is_one_launch_and_copies_its_rows_alone(
    watched: tuple[GpuLane, Stats], gpu: Simulation, bundle: Bundle, n: int, bucket: int
) -> None:
    lane, stats = watched
    images = pixels(0, bundle, n)
    for i, image in enumerate(images):
        lane.slot(i)[...] = image
    lane.launch(n)
    found = lane.result()
    assert [span.kind for span in gpu.spans] == [b"i", b"c", b"o"], "one copy in, one launch, one copy out"
    assert gpu.graphs == 1
    assert (stats.seconds["copy in"] == 0) == (n == bucket), "a graph's copies are not timed apart"
    assert len(found.scores) == n
    with closing(open_engine(bundle, EngineOptions(device="cpu", precision="fp32", batch=n))) as reference:
        assert np.allclose(found.scores, compute(reference, images, n).scores, atol=0.01)


@pytest.mark.parametrize(("n", "looks"), [(1, 3), (2, 0)])
def test_a_batch_of_1_is_waited_for_awake(watched: tuple[GpuLane, Stats], n: int, looks: int) -> None:
    lane, _ = watched
    done, seen = lane._events[-1], []

    class Watched:
        @property
        def is_done(self) -> bool:
            seen.append("looked")
            return len(seen) == 3

        def sync(self) -> None:
            seen.append("slept")
            done.sync()

    lane.launch(n)
    lane._events[-1] = Watched()
    lane.result()
    assert seen == ["looked"] * looks + ["slept"]


@pytest.mark.parametrize(
    ("numbers", "runs"), [([], []), ([0, 1, 2], [(0, 3)]), ([1, 2, 5, 7, 8], [(1, 3), (5, 6), (7, 9)])]
)
def test_runs(numbers: list[int], runs: list[tuple[int, int]]) -> None:
    assert list(_runs(iter(numbers))) == runs


def test_a_slot_is_a_lanes_memory(engine: Engine) -> None:
    assert Slot(engine.lanes[0], 2).memory is not None
    assert np.shares_memory(Slot(engine.lanes[0], 2).memory, engine.lanes[0].slot(2))
