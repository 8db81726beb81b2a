"""Scores over time: figures that stress the low seconds, and the segments that are low by the clip's own measure.

A sample holds until the next, the last until the end. All weights are seconds, so that neither the sampling step nor a
variable frame rate counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from declip_rt.video.events import Event

Floats = NDArray[np.float64]
Percentiles = Mapping[str, Sequence[float]]  # head: its scores at the percentiles 0, 1, ..., 100 of the reference

MEMORY = 2.0  # seconds that a viewer remembers the worst of, and those that he judges the present by
SOFTNESS = 0.1  # of the soft minimum of the present
FLOOR = 0.08  # a drop of the technical score that counts, at least
SIGMAS = 3.0  # and it is so many sigmas of what the clip's steps tell
NORMAL = 1.4826  # a normal distribution's sigma, in units of its median absolute deviation
SHORTEST = 1.0  # seconds of a scene that is ranked
ISLAND = 4.0  # seconds between two cuts that may be the ends of a fault
POOR = 10  # a scene is low where half of it is under this percentile of the reference
SLACK = 1e-3  # seconds between a cut and its first picture, at most: times are sums
UNKNOWN = 0.3  # the spread of a head that the reference lacks: that of a flat distribution


@dataclass(frozen=True)
class Pooled:
    """One head over time.

    Attributes:
        mean: by time.
        p5: what 5 % of the time is at or below.
        worst10: the mean of the lowest 10 % of the time.
        hysteresis: the mean, over time, of half the worst of the last 2 s and half the soft minimum of the next 2 s.
        min, min_time: the lowest, and its second.
    """

    mean: float
    p5: float
    worst10: float
    hysteresis: float
    min: float
    min_time: float


def pool(times: Floats, values: Floats, end: float) -> Pooled:
    """Pools the `values` (n,) at `times` (n,), which rise, in seconds; `end` is where the last one ends; n > 0."""
    times, values = np.asarray(times, np.float64), np.asarray(values, np.float64)
    weights = _durations(times, end)
    order = np.argsort(values)
    lowest = np.clip(0.1 * weights.sum() - (np.cumsum(weights[order]) - weights[order]), 0, weights[order])
    at = int(np.argmin(values))
    return Pooled(
        float(values @ weights / weights.sum()),
        _quantile(values, weights, 0.05),
        float(values[order] @ lowest / lowest.sum()),
        _hysteresis(times, values, weights),
        float(values[at]),
        float(times[at]),
    )


def _durations(times: Floats, end: float) -> Floats:
    """How long each sample holds; all alike where that is nothing."""
    lasts = np.clip(np.diff(times, append=max(end, times[-1])), 0, None)
    return lasts if lasts.sum() > 0 else np.ones_like(times)


def _quantile(values: Floats, weights: Floats, share: float) -> float:
    """The value that `share` of the weight is at or below."""
    order = np.argsort(values)
    summed = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(summed, share * summed[-1] * (1 - 1e-9))])


def _hysteresis(times: Floats, values: Floats, weights: Floats) -> float:
    """The integral over time, whose steps end wherever a sample enters or leaves a window."""
    edges = np.append(times, times[0] + weights.sum())
    steps = np.concatenate([edges, edges + MEMORY, edges - MEMORY])
    steps = np.unique(steps[(steps >= edges[0]) & (steps <= edges[-1])])
    now, lasts = (steps[1:] + steps[:-1]) / 2, np.diff(steps)
    now, lasts = now[lasts > SLACK / 1000], lasts[lasts > SLACK / 1000]  # two edges that are one, but for rounding

    first = np.clip(np.searchsorted(times, now - MEMORY, "right") - 1, 0, None)
    behind = np.searchsorted(times, now, "right")
    worst = np.minimum.reduceat(np.append(values, np.inf), np.stack([first, behind], 1).ravel())[::2]

    soft = np.exp(-values / SOFTNESS) * weights
    sums = [np.append(0, np.cumsum(each)) for each in (values * soft, soft)]
    ahead = np.minimum(now + MEMORY, edges[-1])
    above, below = (np.interp(ahead, edges, each) - np.interp(now, edges, each) for each in sums)
    return float((worst + above / below) / 2 @ lasts / lasts.sum())


def low(
    times: Floats, heads: Mapping[str, Floats], scenes: Sequence[float], reference: Percentiles, end: float
) -> list[Event]:
    """The segments that are low: as the clip's own scenes have it, and as the reference does.

    A part of a scene is low where the technical score falls and rises again, or lies a step below its scene from or
    up to a cut, by FLOOR and by SIGMAS of what it moves from sample to sample in the clip, and it or an attribute
    moves by as much as photos of the reference differ. It goes on as long as half of that is left, and over gaps of
    one step. What is left of a scene is low where half of it is under the percentile POOR of the reference.

    times: (n,) seconds, rising. heads: the technical score and all attributes, each (n,). scenes: times of cuts.
    """
    if not len(times):
        return []
    lasts = _durations(times, end)
    parts = _scenes(times, heads, scenes, reference)
    steps = [np.diff(heads["technical"][part]) for part in parts]
    pace = _sigma(np.concatenate(steps))
    found: list[_Segment] = []
    for part in parts:
        scene = _Scene({name: values[part] for name, values in heads.items()}, lasts[part], reference, pace)
        found += [segment.moved(part.start) for segment in scene.segments()]
    return [
        Event(float(times[each.first]), float(times[each.last] + lasts[each.last]), "low", each.detail)
        for each in _merged(found, times, lasts)
    ]


@dataclass(frozen=True)
class _Segment:
    """The samples from `first` to `last`; `worst` is the lowest technical score."""

    first: int
    last: int
    worst: float
    detail: str

    def moved(self, by: int) -> _Segment:
        return _Segment(self.first + by, self.last + by, self.worst, self.detail)


def _scenes(times: Floats, heads: Mapping[str, Floats], cuts: Sequence[float], reference: Percentiles) -> list[slice]:
    """The samples of each scene. A fault may look like two cuts: those that lead away and back are none."""
    begins = np.searchsorted(times, np.array([times[0], *cuts]) - SLACK)
    firsts = sorted({int(first) for first in begins if first < len(times)})
    kept = [firsts.pop(0)]
    while firsts:
        away = firsts.pop(0)
        if firsts and times[firsts[0]] - times[away] <= ISLAND and _returns(heads, away, firsts[0], reference):
            firsts.pop(0)
        else:
            kept.append(away)
    return [slice(first, last) for first, last in zip(kept, [*kept[1:], len(times)], strict=True)]


def _returns(heads: Mapping[str, Floats], away: int, back: int, reference: Percentiles) -> bool:
    """Whether the picture before `away` is twice as near to that at `back` as to what is between them."""
    seen = np.array([values / _spread(name, reference) for name, values in heads.items()])
    before, after = seen[:, away - 1], seen[:, back]
    between = seen[:, away:back].mean(1)
    return bool(
        2 * np.abs(before - after).mean() < min(np.abs(before - between).mean(), np.abs(after - between).mean())
    )


def _spread(head: str, reference: Percentiles) -> float:
    """What a sigma is to a normal distribution, of the reference photos."""
    return (reference[head][84] - reference[head][16]) / 2 if head in reference else UNKNOWN


def _sigma(steps: Floats) -> float:
    """Of steps (n,), without the two that a fault makes; most others are no fault's."""
    calm = np.sort(np.abs(steps))[:-2]
    return NORMAL * float(np.median(calm)) if len(calm) else 0.0


class _Scene:
    """The samples between two cuts. heads, lasts: (n,) each, of seconds. pace: sigma of the clip's steps."""

    def __init__(self, heads: Mapping[str, Floats], lasts: Floats, reference: Percentiles, pace: float) -> None:
        self._technical, self._lasts, self._reference, self._pace = heads["technical"], lasts, reference, pace
        self._drop = max(FLOOR, SIGMAS * pace / 2**0.5)  # a step is the difference of two samples
        self._attributes = {name: values for name, values in heads.items() if name not in ("technical", "aesthetic")}

    def segments(self) -> list[_Segment]:
        """The parts that are low, and what is left of the scene where it is."""
        scores = self._technical
        highest = np.minimum(np.maximum.accumulate(scores), np.maximum.accumulate(scores[::-1])[::-1])
        found = self._valleys(highest - scores) + self._at_cut(highest, 1) + self._at_cut(highest, -1)
        left = np.ones(len(scores), np.bool_)
        for segment in found:
            left[segment.first : segment.last + 1] = False
        return sorted([*found, *self._whole(left)], key=lambda segment: segment.first)

    def _valleys(self, depth: Floats) -> list[_Segment]:
        """What is below the highest before and the highest after it; `depth` (n,) says how far."""
        edges = np.flatnonzero(np.diff(depth > self._drop / 2, prepend=False, append=False))
        found = []
        for first, behind in zip(edges[::2], edges[1::2], strict=True):
            worst = first + int(np.argmax(depth[first:behind]))
            if depth[worst] > self._drop:
                found += self._told(first, behind - 1, worst, [first - 1, behind])
        return found

    def _at_cut(self, scores: Floats, way: int) -> list[_Segment]:
        """What is a step lower from the first sample on (`way` 1), or up to the last (-1). scores: (n,), no valleys."""
        steps = np.diff(scores[::way])
        if not len(steps):
            return []
        at = int(np.argmax(steps))  # the last sample that is low
        others = max(self._pace, _sigma(np.delete(steps, at)))
        if steps[at] <= max(FLOOR, SIGMAS * others) or self._lasts[::way][: at + 1].sum() > ISLAND:
            return []
        low = range(at + 1) if way == 1 else range(len(scores) - 1 - at, len(scores))
        plain = [each for each in low if scores[each] - self._technical[each] <= self._drop / 2]
        worst = min(plain or low, key=lambda each: self._technical[each])
        return self._told(low[0], low[-1], worst, [low[-1] + 1 if way == 1 else low[0] - 1])

    def _told(self, first: int, last: int, worst: int, beside: list[int]) -> list[_Segment]:
        """The segment, where a head has moved from all samples `beside` it as far as photos differ."""

        def before(values: Floats) -> float:
            return float(min((values[each] for each in beside), key=lambda value: abs(value - values[worst])))

        heads = {"technical": self._technical, **self._attributes}
        moves = {
            name: abs(before(values) - values[worst]) / _spread(name, self._reference) for name, values in heads.items()
        }
        if max(moves.values()) < 1:
            return []
        most = sorted(self._attributes, key=lambda name: -moves[name])[:1]
        told = [f"{name} {before(heads[name]):.2f} -> {heads[name][worst]:.2f}" for name in ("technical", *most)]
        return [_Segment(int(first), int(last), float(self._technical[worst]), ", ".join(told))]

    def _whole(self, left: NDArray[np.bool_]) -> list[_Segment]:
        """All of the scene, where what is `left` of it is low."""
        if "technical" not in self._reference or self._lasts[left].sum() < SHORTEST:
            return []
        medians = {
            name: _quantile(values[left], self._lasts[left], 0.5)
            for name, values in {"technical": self._technical, **self._attributes}.items()
            if name in self._reference
        }
        score = medians.pop("technical")
        if score >= self._reference["technical"][POOR]:
            return []

        def oddity(name: str) -> float:
            return abs(medians[name] - self._reference[name][50]) / _spread(name, self._reference)

        most = sorted(medians, key=oddity)[-1:]
        told = [
            f"technical {score:.2f} below {100 - POOR} % of the reference",
            *(f"{name} {medians[name]:.2f}" for name in most),
        ]
        return [_Segment(0, len(left) - 1, float(self._technical.min()), ", ".join(told))]


def _merged(found: list[_Segment], times: Floats, lasts: Floats) -> list[_Segment]:
    """Segments that overlap or are a step apart are one, which tells of the worse."""
    step = float(np.median(lasts))
    merged: list[_Segment] = []
    for segment in found:
        before = merged[-1] if merged else None
        if before and times[segment.first] - (times[before.last] + lasts[before.last]) <= step * 1.001:
            worse = min(before, segment, key=lambda each: each.worst)
            merged[-1] = _Segment(before.first, max(before.last, segment.last), worse.worst, worse.detail)
        else:
            merged.append(segment)
    return merged
