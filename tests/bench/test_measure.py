"""Latency and throughput are those of the engine, whatever its lanes overlap; on a clock that the test holds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from declip_rt import ImageError, Scorer
from declip_rt.backends.contract import EngineInfo
from declip_rt.bench.measure import MIN_STEPS, Effort, fill, from_files, latency, measure, rate, throughput
from declip_rt.bench.report import Latency, Range, Row
from declip_rt.model.manifest import Placement, ViewSpec
from declip_rt.stats import STAGES, Stats
from tests.conftest import encoded, picture

VIEWS = ViewSpec(4, (Placement(4), Placement(8)))
COPY, COMPUTE = 0.006, 0.010  # seconds a batch: copies overlap, computing does not


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowEngine:
    """Computes one batch after another; `extra` seconds are added to each of its first batches."""

    is_closed = False

    def __init__(
        self,
        clock: Clock,
        batch: int = 8,
        lanes: int = 1,
        extra: Iterable[float] = (),
        stats: Stats | None = None,
    ) -> None:
        self.clock, self.extra, self.stats, self.free_at = clock, iter(extra), stats or Stats(), 0.0
        self.info = EngineInfo("cpu", None, "made up", "fp32", batch, lanes)
        self.lanes = [SlowLane(self) for _ in range(lanes)]

    def close(self) -> None:
        pass


class SlowLane:
    def __init__(self, engine: SlowEngine) -> None:
        self.engine, self.done_at = engine, None
        self.pixels = np.zeros((engine.info.batch, *VIEWS.shape), np.uint8)

    def slot(self, i: int) -> np.ndarray:
        return self.pixels[i]

    def launch(self, n: int) -> None:
        assert self.done_at is None, "it is in flight already"
        assert n == self.engine.info.batch
        engine = self.engine
        engine.free_at = max(engine.clock.now + COPY, engine.free_at) + COMPUTE + next(engine.extra, 0.0)
        self.done_at = engine.free_at

    def result(self) -> None:
        assert self.done_at is not None, "nothing was launched"
        self.engine.clock.now, self.done_at = max(self.engine.clock.now, self.done_at), None
        self.engine.stats.add("copy in", COPY)
        self.engine.stats.add("compute", COMPUTE)


def effort(clock: Clock, **options: float | int | None) -> Effort:
    return Effort(**{"seconds": 1.0, "warmup": 0.1, "clock": clock, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(("lanes", "period"), [(1, COPY + COMPUTE), (2, COMPUTE), (4, COMPUTE)])
def test_lanes_overlap_copies_and_latency_does_not_hide_them(lanes: int, period: float) -> None:
    clock = Clock()
    engine = SlowEngine(clock, lanes=lanes)
    found = latency(engine, effort(clock), Stats())
    assert (found.p50, found.p99) == pytest.approx((16, 16))
    speed, batches = throughput(engine, effort(clock))
    assert (speed.low, speed.median, speed.high) == pytest.approx([8 / period] * 3)
    assert batches == pytest.approx(1 / period, abs=4)
    assert all(lane.done_at is None for lane in engine.lanes), "nothing is left in flight"


def test_batches_that_are_done_together_do_not_look_faster() -> None:
    """Two at once, each of which takes twice as long."""
    clock = Clock()
    engine = SlowEngine(clock, lanes=4, extra=itertools.cycle([COMPUTE, -COMPUTE]))
    speed, _ = throughput(engine, effort(clock, seconds=0.1))
    assert (speed.low, speed.high) == pytest.approx([8 / COMPUTE] * 2)


def test_percentiles_and_parts_are_of_all_batches() -> None:
    clock, warm = Clock(), [5.0] * MIN_STEPS
    slower = [*warm, *(i / 1e3 for i in range(101))]
    found = latency(SlowEngine(clock, extra=slower), effort(clock, iterations=101, warmup=0), Stats())
    assert (found.p50, found.p90, found.p99) == pytest.approx((16 + 50, 16 + 90, 16 + 99))
    assert found.batches == 101
    assert found.parts.low < found.parts.median < found.parts.high < found.p90 + 1


def test_a_slow_part_shows_in_the_range_and_not_in_the_median() -> None:
    times = np.cumsum([0, *[0.1] * 80, *[0.3] * 20]).tolist()
    assert rate(times, 8) == Range(pytest.approx(80), pytest.approx(8 / 0.3), pytest.approx(80))
    assert rate([0.0, 0.5], 8) == Range(16, 16, 16)


def test_effort_is_as_long_as_it_was_asked_to_be() -> None:
    clock, done = Clock(), []

    def step() -> None:
        done.append(clock.now)
        clock.now += 0.25

    assert len(effort(clock, seconds=2.0).times(step)) == 8 + 1
    assert len(effort(clock, seconds=0.0).times(step)) == MIN_STEPS + 1
    assert len(effort(clock, iterations=3).times(step)) == 3 + 1
    assert len(effort(clock, iterations=9).times(step, batches=4)) == 3 + 1
    for warmup, least in ((0.0, MIN_STEPS), (2.0, 8)):
        done.clear()
        effort(clock, warmup=warmup).warm(step)
        assert len(done) == least


def test_pixels_are_noise_another_in_each_slot_and_the_same_each_time() -> None:
    one, other = SlowEngine(Clock(), batch=3, lanes=2), SlowEngine(Clock(), batch=3, lanes=2)
    fill(one, VIEWS)
    fill(other, VIEWS)
    slots = [lane.slot(i) for lane in one.lanes for i in range(3)]
    assert len({slot.tobytes() for slot in slots}) == 6
    assert all(slot.std() > 40 for slot in slots)
    assert all((a.pixels == b.pixels).all() for a, b in zip(one.lanes, other.lanes, strict=True))


def test_a_row_tells_where_a_batch_spent_its_time() -> None:
    clock, stats = Clock(), Stats()
    stats.add("compute", 100.0)  # before it is measured
    engine = SlowEngine(clock, stats=stats)
    row = measure("declip-rt", engine, VIEWS, effort(clock, iterations=10), stats)
    assert row.latency.stages_ms == pytest.approx({"copy in": 6, "compute": 10})
    assert (row.contender, row.device, row.batch, row.lanes, row.batches) == (
        "declip-rt",
        "cpu (made up, fp32)",
        8,
        1,
        10,
    )


@pytest.fixture
def row() -> Row:
    return Row("declip-rt", "cpu", "fp32", 8, 4, Latency(1, 1, 1, Range(1, 1, 1), 1), Range(1, 1, 1), 1)


def test_files_are_scored_over_and_over(scorer: Scorer, folder: Path, row: Row) -> None:
    paths = [str(path) for path in sorted(folder.iterdir())]
    found = from_files(scorer, paths, "6 photos", row, Effort(iterations=5, warmup=0))
    assert found.images == 2 * 4 * 8, "whole turns of the lanes"
    assert found.images_per_s.low > 0
    assert set(found.stages_ms) == {"read", "decode", "views", "compute"} <= set(STAGES)
    assert 0 < found.busy < 1.2
    assert scorer.score(paths[0]).technical > 0, "the scorer is free again"


def test_a_file_that_cannot_be_scored_is_named(scorer: Scorer, tmp_path: Path, row: Row) -> None:
    (tmp_path / "good.jpg").write_bytes(encoded(picture()))
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    paths = [str(tmp_path / name) for name in ("good.jpg", "bad.jpg")]
    with pytest.raises(ImageError, match=r"bad\.jpg: .*leave it out"):
        from_files(scorer, paths, "2 photos", row, Effort(iterations=3, warmup=0))
