"""Figures with their 95 % intervals, by the percentile bootstrap over photos."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from declip_rt.model.manifest import Estimate

RESAMPLES = 1000
Values = NDArray[np.float64]  # (N,)
Index = NDArray[np.intp]  # (M,)


def estimate(statistic: Callable[[Index], float], count: int, photos: ArrayLike | None = None) -> Estimate:
    """`statistic` of all `count` values, and its interval over resamples. It gets the places of the values to use.

    photos: (count,) names the photo of each value, for values of one photo are drawn together; by default each has its
    own. Seeded. Resamples of which the statistic is NaN, for want of a class, are left out.
    """
    members = [np.array([i]) for i in range(count)]
    if photos is not None:
        _, place = np.unique(np.asarray(photos), return_inverse=True)
        members = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
    rng = np.random.default_rng(0)
    drawn = (rng.integers(0, len(members), len(members)) for _ in range(RESAMPLES))
    found = [statistic(np.concatenate([members[i] for i in some])) for some in drawn]
    low, high = np.nanpercentile(found, (2.5, 97.5))
    return Estimate(float(statistic(np.arange(count))), float(low), float(high))


def mean(values: ArrayLike, photos: ArrayLike | None = None) -> Estimate:
    """The mean of values (N,)."""
    x = np.asarray(values, np.float64)
    return estimate(lambda some: float(x[some].mean()), len(x), photos)


def median(values: ArrayLike) -> Estimate:
    """The median of values (N,)."""
    x = np.asarray(values, np.float64)
    return estimate(lambda some: float(np.median(x[some])), len(x))


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


def mean_auc(values: NDArray[np.floating], truth: NDArray[np.bool_]) -> Estimate:
    """The mean over readings of the AUC of values (R, N)."""
    return estimate(lambda some: float(np.mean([auc(one[some], truth[some]) for one in values])), len(truth))
