"""How evenly pictures come: where none came for long, and where many are missing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

from declip_rt.video.events import NEAR, Event
from declip_rt.video.sampling import SLACK

STEPS = 250  # the latest between pictures, of which the usual one is known
STALL = 5  # usual steps that are a freeze, where they last for LONG
LONG = 0.5  # seconds
SKIP = 1.5  # usual steps: beyond it a picture is missing, or the rate varies
MANY = 5  # skips near each other that are damage
DENSE = 0.5  # of the steps there
VARIED, ELSEWHERE = 0.2, 0.02  # of all steps, and of those elsewhere: beyond it the rate varies by intent


@dataclass
class Run:
    """Skips that are near each other. steps: all from the first to the last."""

    start: float
    end: float
    skips: int
    steps: int
    missing: int


class Cadence:
    """Counts the steps between pictures.

    Encoders leave pictures out that repeat, and packets get lost: a decoder conceals the latter or leaves them out, and
    says so of few codecs.
    """

    def __init__(self) -> None:
        self.stalls: list[Event] = []
        self._runs: list[Run] = []
        self._latest: deque[float] = deque(maxlen=STEPS)
        self._time: float | None = None
        self._steps = self._skips = self._at = 0

    def push(self, time: float) -> list[float]:
        """Takes the next picture's time, and gives it where none came for long before."""
        before, self._time = self._time, time
        step = 0.0 if before is None else time - before
        if before is None or step < SLACK:
            return []
        usual = median(self._latest) if self._latest else step
        self._latest.append(step)
        if step >= max(LONG, STALL * usual):
            self.stalls.append(Event(before, time, "freeze", f"no new picture for {step:.2f} s"))
            return [time]
        self._steps += 1
        self._count(before, time, round(step / usual) - 1 if step > SKIP * usual else 0)
        return []

    def lost(self) -> list[Event]:
        """Where many pictures are missing from an even stream."""
        runs = [each for each in self._runs if each.skips >= MANY and each.skips >= DENSE * each.steps]
        elsewhere = self._skips - sum(each.skips for each in runs)
        if self._skips > VARIED * self._steps or elsewhere > ELSEWHERE * self._steps:
            return []
        return [Event(each.start, each.end, "corrupt", f"{each.missing} pictures are missing") for each in runs]

    def _count(self, before: float, time: float, missing: int) -> None:
        run = self._runs[-1] if self._runs else None
        if run and before - run.end > NEAR and run.skips < MANY:
            self._runs.pop()  # few are no damage, and need no memory
        if not missing:
            return
        self._skips += 1
        if run and before - run.end <= NEAR:
            between = self._steps - self._at
            run.end, run.skips, run.steps, run.missing = time, run.skips + 1, run.steps + between, run.missing + missing
        else:
            self._runs.append(Run(before, time, 1, 1, missing))
        self._at = self._steps
