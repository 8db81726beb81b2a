"""How two videos of the same pictures lie in time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from declip_rt.video.sampling import Picture

REACH = 2.0  # seconds that an encode may begin earlier or later
LOOKED_AT = 120.0  # seconds from the beginning that tell the offset
FINEST, COARSEST = 1 / 240, 1 / 20  # seconds between the offsets that are tried
SHARED = 0.5  # of the shorter one that both must have
MOST = 300  # pictures that are compared for each offset
TIE = 0.05  # of 255 levels: offsets that differ by less are told apart by the changes
SURE, MARGIN = 0.7, 0.02  # correlation that such an offset must have, and have beyond no offset
ALIKE = 8.0  # of 255 levels: small pictures that differ by more are not the same


@dataclass(frozen=True)
class Offset:
    """How much later an encode shows what its source shows, in seconds.

    correlation: of how both change there, by FFmpeg's scdet. difference: of small pictures of both, in levels of 255.
    """

    seconds: float
    correlation: float
    difference: float

    @property
    def is_sure(self) -> bool:
        """Whether both show the same."""
        return self.difference <= ALIKE


@dataclass(frozen=True)
class Course:
    """How a video goes on. times: (n,) of its pictures in seconds. changes: (n,) by how much each differs from the one
    before it. pictures: uint8 (n, pixels), small and gray.
    """

    times: NDArray[np.float64]
    changes: NDArray[np.float64]
    pictures: NDArray[np.uint8]

    @property
    def step(self) -> float:
        """The usual time between two pictures."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 2 * COARSEST

    def sampled(self, step: float) -> NDArray[np.float64]:
        """Logarithms of the changes at 0, step and so on, that a cut does not outweigh all; NaN before the first."""
        grid = np.arange(0, self.times[-1] + step / 2, step)
        if len(self.times) < 2:
            return np.full_like(grid, np.nan)
        known = np.interp(grid, self.times[1:], np.log1p(self.changes[1:]))
        return np.where(grid < self.times[1] - step / 2, np.nan, known)


def find_offset(source: Course, encode: Course) -> Offset:
    """The offset within REACH where both show the same; none where nothing is, or no other is better."""
    step = float(np.clip(min(source.step, encode.step) / 2, FINEST, COARSEST))
    reach = round(REACH / step)
    differences = {lag: _difference(source, encode, lag * step) for lag in range(-reach, reach + 1)}
    least = min(differences.values())
    ties = [lag for lag, difference in differences.items() if difference <= least + TIE]
    a, b = source.sampled(step), encode.sampled(step)
    alike = {lag: _correlation(a[max(0, -lag) :], b[max(0, lag) :]) for lag in {0, *ties}}
    best = max(ties, key=lambda lag: (alike[lag], -abs(lag)))
    if least > ALIKE or (0 in ties and alike[best] < max(SURE, alike[0] + MARGIN)):
        best = 0
    return Offset(round(best * step, 6), alike[best], differences[best])


def _difference(source: Course, encode: Course, offset: float) -> float:
    """The mean difference of the pictures that are shown together, in levels; infinite where those are few."""
    chosen = np.unique(np.linspace(0, len(source.times) - 1, MOST).astype(int))
    at = source.times[chosen] + offset
    shared = (at >= encode.times[0] - encode.step / 2) & (at <= encode.times[-1] + encode.step / 2)
    shorter = min(source.times[-1], encode.times[-1])
    if not shared.any() or np.ptp(at[shared]) < SHARED * shorter:
        return np.inf
    chosen, at = chosen[shared], at[shared]
    after = np.clip(np.searchsorted(encode.times, at), 1, max(1, len(encode.times) - 1))
    before = after - 1
    after = np.minimum(after, len(encode.times) - 1)
    near = np.where(at - encode.times[before] <= encode.times[after] - at, before, after)
    both = source.pictures[chosen].astype(np.int16) - encode.pictures[near]
    return float(np.abs(both).mean())


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


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson's, over what both have; 0 where nothing changes."""
    count = min(len(a), len(b))
    known = ~np.isnan(a[:count] + b[:count])
    if known.sum() < 2:
        return 0.0
    a, b = a[:count][known], b[:count][known]
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 1e-9 else 0.0
