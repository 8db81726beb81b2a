"""Where a run's time goes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from math import ceil

from declip_rt import cgroup
from declip_rt.errors import Unavailable
from declip_rt.extras import load

STAGES = ("read", "decode", "views", "copy in", "compute", "copy out")  # work of all threads, or of a GPU's streams
WAITS = ("images", "model")  # what the pipeline waits for


class Stats:
    """Counts the seconds of each stage and of waiting. Threads may share it."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys((*STAGES, *WAITS), 0.0)
        self._lock = threading.Lock()
        self._began = time.perf_counter(), time.process_time()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the time that the block takes to a stage, and marks it."""
        began = time.perf_counter()
        try:
            with marked(stage):
                yield
        finally:
            self.add(stage, time.perf_counter() - began)

    def add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self.seconds[stage] += seconds

    @property
    def busy(self) -> float:
        """The share of the machine's cores that this process has used, from 0 to 1."""
        wall, process = self._began
        return (time.process_time() - process) / max(time.perf_counter() - wall, 1e-9) / cores()

    def summary(self) -> str:
        """All of it in one line."""
        stages = ", ".join(f"{name} {self.seconds[name]:.1f} s" for name in STAGES if self.seconds[name])
        waits = " and ".join(f"{self.seconds[name]:.1f} s for {name}" for name in WAITS)
        return f"{stages} (added up over what runs at once); waited {waits}; {self.busy:.0%} of {cores()} cores busy"


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
