"""Figures with their 95 % intervals, by the percentile bootstrap over photos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from declip_rt.model.manifest import Estimate

RESAMPLES = 1000
Index = NDArray[np.intp]  # (M,)
Read = NDArray[Any]  # (..., N)
Statistic = Callable[[Read, Index], float]  # of values (..., N) and the places (M,) to use


def estimate(statistic: Callable[[Index], float], count: int, photos: ArrayLike | None = None) -> Estimate:
    """`statistic` of all `count` values, and its interval over resamples. It gets the places of the values to use.

    photos: (count,) names the photo of each value, for values of one photo are drawn together; by default each has its
    own. Seeded. Resamples of which the statistic is NaN, for want of a class, are left out.
    """
    rng = np.random.default_rng(0)
    if photos is None:
        drawn = (rng.integers(0, count, count) for _ in range(RESAMPLES))
    else:
        _, place = np.unique(np.asarray(photos), return_inverse=True)
        members = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
        some = (rng.integers(0, len(members), len(members)) for _ in range(RESAMPLES))
        drawn = (np.concatenate([members[i] for i in few]) for few in some)
    found = [statistic(index) for index in drawn]
    low, high = np.nanpercentile(found, (2.5, 97.5))
    return Estimate(float(statistic(np.arange(count))), float(low), float(high))


def measure(values: Read, statistic: Statistic, photos: ArrayLike | None = None) -> Estimate:
    """`statistic` of values (..., N), and its interval; photos as in `estimate`."""
    return estimate(lambda some: statistic(values, some), values.shape[-1], photos)


def mean(values: ArrayLike, photos: ArrayLike | None = None) -> Estimate:
    """The mean of values (N,)."""
    return measure(np.asarray(values), share, photos)


def median(values: ArrayLike) -> Estimate:
    """The median of values (N,)."""
    return measure(np.asarray(values), lambda read, some: float(np.median(read[some])))


def srcc(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation of two lists of values (N,); 0 where one is constant."""
    ranks = [rankdata(values) for values in (x, y)]
    centred = [some - some.mean() for some in ranks]
    scale = np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    return float(centred[0] @ centred[1] / scale) if scale else 0.0


def auc(values: ArrayLike, truth: NDArray[np.bool_]) -> float:
    """How often a value (N,) of a true photo is above one of a false photo; ties count half. NaN without both."""
    true = int(truth.sum())
    false = len(truth) - true
    if not true or not false:
        return float("nan")
    return float((rankdata(values)[truth].sum() - true * (true + 1) / 2) / (true * false))


def srcc_with(truth: ArrayLike) -> Statistic:
    """The SRCC of values (N,) with the truth (N,)."""
    y = np.asarray(truth)
    return lambda values, some: srcc(values[some], y[some])


def auc_of(truth: NDArray[np.bool_]) -> Statistic:
    """The mean, over readings, of the AUC of values (R, N)."""
    return lambda values, some: float(np.mean([auc(one[some], truth[some]) for one in values]))


def share(values: Read, some: Index) -> float:
    """The mean of values (N,)."""
    return float(values[some].mean())
