"""How fast an engine goes: the latency of a batch alone, and images a second, with all lanes full or from files."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from declip_rt.backends.contract import Engine
from declip_rt.backends.cuda.devices import memory_held
from declip_rt.backends.cuda.usage import Watch
from declip_rt.bench.report import PARTS, Files, Latency, Range, Row
from declip_rt.errors import ImageError
from declip_rt.model.manifest import ViewSpec
from declip_rt.scorer import Scorer
from declip_rt.stats import STAGES, Stats, cores

MIN_STEPS = 3  # steps of a measurement, and before one
Times = list[float]  # seconds


@dataclass(frozen=True)
class Effort:
    """How long to measure: `seconds`, or `iterations` batches; after `warmup` seconds."""

    seconds: float = 3.0
    iterations: int | None = None
    warmup: float = 1.0
    clock: Callable[[], float] = time.perf_counter

    def warm(self, step: Callable[[], object], least: int = MIN_STEPS) -> int:
        """Returns how many steps it took."""
        began, done = self.clock(), 0
        while done < least or self.clock() - began < self.warmup:
            step()
            done += 1
        return done

    def times(self, step: Callable[[], object], batches: int = 1) -> Times:
        """When `step`, which is so many batches, had been done 0, 1, 2, … times."""
        times = [self.clock()]
        while not self._enough(times, batches):
            step()
            times.append(self.clock())
        return times

    def _enough(self, times: Times, batches: int) -> bool:
        done = len(times) - 1
        if self.iterations is not None:
            return done * batches >= self.iterations
        return done >= MIN_STEPS and times[-1] - times[0] >= self.seconds


def latency(engine: Engine, effort: Effort, stats: Stats) -> Latency:
    """Of batches on the engine's lanes in turn, each alone."""
    lanes = itertools.cycle(engine.lanes)

    def step() -> None:
        lane = next(lanes)
        lane.launch(engine.info.batch)
        lane.result()

    effort.warm(step)
    before = dict(stats.seconds)
    took = np.diff(effort.times(step)) * 1e3
    p50, p90, p99 = np.percentile(took, (50, 90, 99)).tolist()
    parts = [float(np.median(part)) for part in np.array_split(took, min(PARTS, len(took)))]
    return Latency(p50, p90, p99, _range(parts), len(took), _spent(stats, before, len(took)))


def throughput(engine: Engine, effort: Effort) -> tuple[Range, int]:
    """images/s with all lanes kept full, and the batches that it was measured over."""
    count = len(engine.lanes)

    def turn() -> None:  # of all lanes, as several may compute at once and be done together
        for lane in engine.lanes:
            lane.result()
            lane.launch(engine.info.batch)

    for lane in engine.lanes:
        lane.launch(engine.info.batch)
    effort.warm(turn, 1)  # the latency was measured already
    times = effort.times(turn, count)
    for lane in engine.lanes:
        lane.result()
    return rate(times, count * engine.info.batch), count * (len(times) - 1)


def rate(times: Times, images: int) -> Range:
    """images/s, where so many were done between any two of the times."""
    marks = np.linspace(0, len(times) - 1, min(PARTS, len(times) - 1) + 1).round().astype(int)
    return _range((images * np.diff(marks) / np.diff(np.array(times)[marks])).tolist())


def fill(engine: Engine, views: ViewSpec) -> None:
    """Noise into each slot of each lane, the same every time, and zeros nowhere: they would be computed faster."""
    rng = np.random.default_rng(0)
    for lane in engine.lanes:
        for i in range(engine.info.batch):
            lane.slot(i)[...] = rng.integers(0, 256, views.shape, np.uint8)


def measure(contender: str, engine: Engine, views: ViewSpec, effort: Effort, stats: Stats) -> Row:
    fill(engine, views)
    alone = latency(engine, effort, stats)
    with Watch(engine.info.index) as watch:
        full, batches = throughput(engine, effort)
    where = (str(engine.info), engine.info.precision, engine.info.batch, len(engine.lanes))
    return Row(contender, *where, alone, full, batches, memory_held(), usage=watch.usage)


def from_files(scorer: Scorer, paths: Sequence[str], what: str, row: Row, effort: Effort) -> Files:
    """Scores the paths over and over, with the batch and lanes of the row. Raises ImageError for one that fails."""
    turn = row.lanes * row.batch
    with closing(scorer._stream(itertools.cycle(paths))) as stream:

        def step() -> None:
            for done in itertools.islice(stream, turn):
                if done.error is not None:
                    raise ImageError(f"{done.item!s}: {done.error}; leave it out of --images")

        effort.warm(step, 2)  # after one, all lanes have been filled while others compute
        before, cpu = dict(scorer.stats.seconds), time.process_time()
        with Watch(scorer.engine.index) as watch:
            times = effort.times(step, row.lanes)
        cpu = time.process_time() - cpu
    images = turn * (len(times) - 1)
    busy = cpu / (times[-1] - times[0]) / cores()
    spent = _spent(scorer.stats, before, images)
    return Files(what, row.batch, row.lanes, scorer.workers, rate(times, turn), images, spent, busy, watch.usage)


def _spent(stats: Stats, before: dict[str, float], count: int) -> dict[str, float]:
    """ms in each stage since `before`, for each of `count`."""
    spent = {stage: (stats.seconds[stage] - before[stage]) / count * 1e3 for stage in STAGES}
    return {stage: value for stage, value in spent.items() if value > 0}


def _range(values: Sequence[float]) -> Range:
    return Range(float(np.median(values)), min(values), max(values))
