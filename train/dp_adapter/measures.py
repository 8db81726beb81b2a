"""How far two references are obeyed, with intervals over pairs and trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from declip_rt.model.manifest import Estimate
from train.dp_adapter.looks import ATTRIBUTES
from train.intervals import RESAMPLES, srcc

Values = NDArray[np.float64]
Places = NDArray[np.intp]  # of some of a training's pairs


@dataclass(frozen=True)
class Drawn:
    """What one training drew for N pairs. References are `perceptual` and `semantic`.

    attributes: (N, A) of the results. wanted: those of each reference. nearest: (N,) the photo that a result looks most
    like. photos: (N,) that of each reference. margins: (N,) by how much the result's own feature is nearer to the
    reference that it is for than to the other. qualities: (N,) the heads' scores. dials: (L, N, A + 1) attributes and
    likeness to the semantic reference's photo as one scale rises to 1 and the other is 1, by the reference that it is
    of. changes: (N,) the mean change of a pixel from scale 0 to 1, in levels of 255. unshown: (N,) as `nearest`, where
    the semantic scale is 0.
    """

    attributes: Values
    wanted: Mapping[str, Values]
    nearest: Places
    photos: Mapping[str, Places]
    margins: Mapping[str, Values]
    qualities: Mapping[str, Values]
    dials: Mapping[str, Values] = field(default_factory=dict)
    changes: Mapping[str, Values] = field(default_factory=dict)
    unshown: Places | None = None

    def __len__(self) -> int:
        return len(self.nearest)


Statistic = Callable[[Drawn, Places], float]


def estimate(statistic: Statistic, trainings: Sequence[Drawn]) -> Estimate:
    """The mean of a statistic over trainings, and its 95 % interval: trainings, then pairs of each, are drawn anew."""
    return _estimate(lambda training, some: statistic(trainings[training], some), trainings)


def difference(statistic: Statistic, more: Sequence[Drawn], less: Sequence[Drawn]) -> Estimate:
    """By how much a system's statistic is above another's, whose trainings have the same seeds and pairs."""
    return _estimate(lambda training, some: statistic(more[training], some) - statistic(less[training], some), more)


def _estimate(statistic: Callable[[int, Places], float], trainings: Sequence[Drawn]) -> Estimate:
    rng, count = np.random.default_rng(0), len(trainings)
    sizes = [len(one) for one in trainings]
    found = [
        np.mean([statistic(i, rng.integers(sizes[i], size=sizes[i])) for i in rng.integers(count, size=count)])
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanpercentile(found, (2.5, 97.5))
    return Estimate(float(np.mean([statistic(i, np.arange(sizes[i])) for i in range(count)])), float(low), float(high))


def follows(attribute: str, reference: str) -> Statistic:
    """Spearman's correlation of the results' attribute with a reference's."""
    place = ATTRIBUTES.index(attribute)
    return lambda drawn, some: srcc(drawn.attributes[some, place], drawn.wanted[reference][some, place])


def shows(reference: str, photos: int = 1) -> Statistic:
    """How often the result is recognised as the photo of a reference; of so many photos, how many times chance."""
    return lambda drawn, some: float((drawn.nearest[some] == drawn.photos[reference][some]).mean()) * photos


def shows_without(photos: int) -> Statistic:
    """As `shows` of the semantic reference, whose scale is 0."""
    return lambda drawn, some: float((drawn.unshown[some] == drawn.photos["semantic"][some]).mean()) * photos


def disentanglement(drawn: Drawn, some: Places) -> float:
    """The mean of two: what the look follows of its reference less of the other one, and what is shown likewise.

    1 is perfect; 0 is a picture that follows neither, or both alike.
    """
    looks = [
        follows(name, "perceptual")(drawn, some) - abs(follows(name, "semantic")(drawn, some)) for name in ATTRIBUTES
    ]
    return float(np.mean(looks) + shows("semantic")(drawn, some) - shows("perceptual")(drawn, some)) / 2


def mean(read: Callable[[Drawn], Values]) -> Statistic:
    return lambda drawn, some: float(read(drawn)[some].mean())


def monotone(reference: str, place: int) -> Statistic:
    """How often a value goes one way only as the reference's scale rises."""

    def share(drawn: Drawn, some: Places) -> float:
        steps = np.diff(drawn.dials[reference][:, some, place], axis=0)
        return float(((steps >= 0).all(0) | (steps <= 0).all(0)).mean())

    return share


def crosstalk(place: int) -> Statistic:
    """How much the semantic scale moves an attribute, as a share of what the perceptual scale does."""

    def moved(drawn: Drawn, reference: str, some: Places) -> float:
        values = drawn.dials[reference][:, some, place]
        return float(np.abs(values[-1] - values[0]).mean())

    return lambda drawn, some: moved(drawn, "semantic", some) / max(moved(drawn, "perceptual", some), 1e-12)
