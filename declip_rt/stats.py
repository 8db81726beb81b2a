"""Where a run's time goes."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from math import ceil
from typing import Any

from declip_rt import cgroup
from declip_rt.errors import Unavailable
from declip_rt.extras import load

STAGES = ("read", "decode", "views", "copy in", "compute", "copy out")  # work of all threads, or of a GPU's streams
# The copies of a batch that is one CUDA graph count as compute.
WAITS = ("images", "model")  # what the pipeline waits for


class Stats:
    """Counts the seconds of each stage and of waiting, and images. Threads may share it."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys((*STAGES, *WAITS), 0.0)
        self.counts = Counter[str]()  # of images, by what was done with them
        self._lock = threading.Lock()
        self._began = time.perf_counter(), time.process_time()

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Adds the time that the block takes to a stage, and marks it."""
        return _Timed(self, stage)

    def add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self.seconds[stage] += seconds

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    @property
    def busy(self) -> float:
        """The share of the machine's cores that this process has used, from 0 to 1."""
        wall, process = self._began
        return (time.process_time() - process) / max(time.perf_counter() - wall, 1e-9) / cores()

    def summary(self) -> str:
        """All of it in one line."""
        stages = ", ".join(f"{name} {self.seconds[name]:.1f} s" for name in STAGES if self.seconds[name])
        waits = " and ".join(f"{self.seconds[name]:.1f} s for {name}" for name in WAITS)
        counts = "".join(f"; {count:,} {what}" for what, count in sorted(self.counts.items()))
        busy = f"{self.busy:.0%} of {cores()} cores busy"
        return f"{stages} (added up over what runs at once); waited {waits}; {busy}{counts}"


class _Timed:
    """A class, as a generator would take twice as long, some times for each image."""

    __slots__ = ("_began", "_mark", "_stage", "_stats")

    def __init__(self, stats: Stats, stage: str) -> None:
        self._stats, self._stage, self._mark = stats, stage, marked(stage)

    def __enter__(self) -> None:
        self._mark.__enter__()
        self._began = time.perf_counter()

    def __exit__(self, *raised: Any) -> None:
        self._stats.add(self._stage, time.perf_counter() - self._began)
        self._mark.__exit__(*raised)


@cache
def marked(name: str) -> AbstractContextManager[object]:
    """A range of this name in Nsight Systems, where nvtx is installed and it listens. Threads may share it."""
    try:
        marks: AbstractContextManager[object] = load("nvtx").annotate(name, domain="declip-rt")
    except Unavailable:
        return nullcontext()
    return marks


def cores() -> int:
    """How many cores this process may use, by its affinity and by its cgroup's quota of time, rounded up."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup.cpus()
    return here if quota is None else max(1, min(here, ceil(quota)))
