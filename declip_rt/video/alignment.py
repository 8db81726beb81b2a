"""How two videos of the same pictures lie in time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from declip_rt.video.sampling import Picture

REACH = 2.0  # seconds that an encode may begin earlier or later
FINEST, COARSEST = 1 / 240, 1 / 20  # seconds between the values that are compared
SHARED = 0.5  # of the shorter one that both must have
SURE = 0.7  # correlation: below it no offset is believed
MARGIN = 0.02  # correlation that an offset must have beyond no offset


@dataclass(frozen=True)
class Offset:
    """How much later an encode shows what its source shows, in seconds, and how alike their changes are there."""

    seconds: float
    correlation: float

    @property
    def is_sure(self) -> bool:
        return self.correlation >= SURE


@dataclass(frozen=True)
class Changes:
    """How much each picture differs from the one before it: float64 (n,) each, times in seconds."""

    times: NDArray[np.float64]
    amounts: NDArray[np.float64]

    @classmethod
    def of(cls, told: Sequence[tuple[float, float]]) -> Changes:
        """Of pairs of a time and an amount."""
        times, amounts = np.array(told, np.float64).reshape(-1, 2).T
        return cls(times, amounts)

    @property
    def step(self) -> float:
        """The usual time between two pictures."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 2 * COARSEST

    def sampled(self, step: float) -> NDArray[np.float64]:
        """The amounts at 0, step and so on."""
        grid = np.arange(0, self.times[-1] + step / 2, step)
        return np.interp(grid, self.times, self.amounts)


def find_offset(source: Changes, encode: Changes) -> Offset:
    """The offset within REACH where the changes are most alike; none where that is hardly more than without one."""
    step = float(np.clip(min(source.step, encode.step) / 2, FINEST, COARSEST))
    a, b = source.sampled(step), encode.sampled(step)
    reach = round(REACH / step)
    least = SHARED * min(len(a), len(b))
    found = {lag: _alike(a[max(0, -lag) :], b[max(0, lag) :], least) for lag in range(-reach, reach + 1)}
    best = max(found, key=lambda lag: (found[lag], -abs(lag)))
    if found[best] < max(SURE, found[0] + MARGIN):
        best = 0
    return Offset(round(best * step, 6), found[best])


def nearest(source: Iterable[Picture], encode: Iterable[Picture], offset: float) -> Iterator[tuple[Picture, Picture]]:
    """Each picture of the source with that of the encode whose time is nearest.

    Those before the encode begins and after it ends are left out. Where it stands still for long, its picture goes with
    several of the source.
    """
    others = iter(encode)
    shown = next(others, None)
    if shown is None:
        return
    begin, following = shown.time, next(others, None)
    for picture in source:
        at, length = picture.time + offset, picture.until - picture.time
        while following is not None and following.time <= at:
            shown, following = following, next(others, None)
        if following is None and at >= shown.until:
            return
        if at > begin - length:
            yield picture, shown if following is None or at - shown.time <= following.time - at else following


def _alike(a: NDArray[np.float64], b: NDArray[np.float64], least: float) -> float:
    """Pearson's correlation over what both have; -1 where that is less than `least` values."""
    count = min(len(a), len(b))
    if count < max(least, 2):
        return -1.0
    a, b = a[:count] - a[:count].mean(), b[:count] - b[:count].mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 1e-9 else 0.0
