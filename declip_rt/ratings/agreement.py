"""How well scores agree with people's ratings (MOS): correlation and error, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from declip_rt.errors import ConfigError
from declip_rt.extras import load
from declip_rt.model.manifest import Agreement, Estimate

Array: TypeAlias = NDArray[np.float64]

MIN_PHOTOS = 5
RESAMPLES = 1000
BLOCK = 250  # resamples that are measured together
MAX_DISTANCE = 3.0  # of a fitted curve's middle from the mean score, in standard deviations of the scores
MIN_WIDTH, MAX_WIDTH = 0.1, 10.0  # of a fitted curve, in standard deviations of the scores


@dataclass(frozen=True)
class Logistic:
    """The four-parameter logistic of VQEG (2003), `bottom + (top - bottom) / (1 + exp((middle - score) / width))`.

    It rises from `bottom` to `top`, or falls where `top` is the lower one; `width` is positive.
    """

    top: float
    bottom: float
    middle: float
    width: float

    def __call__(self, scores: ArrayLike) -> Array:
        return self.bottom + (self.top - self.bottom) * _sigmoid(np.asarray(scores), self.middle, self.width)

    @staticmethod
    def fit(scores: ArrayLike, mos: ArrayLike) -> Logistic:
        """The least-squares fit of the `mos` (n,) of photos with the `scores` (n,).

        Top and bottom are linear in the fit, so only the middle and the width are searched: on a grid, then from its
        best point on. Both are bounded, so a fit always exists: the middle lies among the scores, and the curve is no
        steeper than photos can tell and no flatter than nearly straight. The fit of constant scores is the mean MOS.

        Raises ConfigError: see `measure`.
        """
        x, y = _check(scores, mos)
        if np.ptp(x) == 0:
            return Logistic(float(y.mean()), float(y.mean()), float(x[0]), 1.0)
        z, spread = _standard(x), x.std()
        middle, width = _fit_sigmoid(z, y)
        rise, bottom = np.polyfit(_sigmoid(z, middle, width), y, 1)
        return Logistic(*map(float, (bottom + rise, bottom, x.mean() + spread * middle, spread * width)))


def measure(scores: ArrayLike, mos: ArrayLike, *, fitted: bool = True) -> Agreement:
    """The agreement of the `scores` (n,) of n photos with their `mos` (n,).

    PLCC and RMSE are measured after the logistic fit. With `fitted=False` they are measured on the scores as they are,
    for scores that are MOS already. The fit may rise or fall, and PLCC has the sign of its slope. So the PLCC of scores
    that tell nothing is as often below 0 as above. RMSE divides by n. A correlation with constant values is 0.

    The intervals are those of the percentile bootstrap: the photos are drawn 1000 times, with replacement and a fixed
    seed, and everything is measured again. The fit then chooses among the grid's curves and the curve of all photos:
    its PLCC is within 0.001 or so of the best.

    Raises ConfigError: fewer than 5 photos, lengths that differ, a value that is not finite, a MOS that is the same for
    all photos, or no scipy.
    """
    x, y = _check(scores, mos)
    n = len(x)
    curve = Logistic.fit(x, y) if fitted else None
    predicted = curve(x) if curve else x
    sign = -1 if curve and curve.top < curve.bottom else 1
    srcc, krcc = _ranks(x[None], y[None])
    values = (srcc[0], sign * _correlation(predicted, y), krcc[0], _rmse(predicted, y))
    rng = np.random.default_rng(0)
    blocks = [_measure_resamples(x, y, rng.integers(0, n, (BLOCK, n)), curve) for _ in range(RESAMPLES // BLOCK)]
    bounds = np.percentile(np.concatenate(blocks, axis=1), (2.5, 97.5), axis=1)
    return Agreement(n, *(Estimate(*map(float, found)) for found in zip(values, *bounds, strict=True)))


def _check(scores: ArrayLike, mos: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(scores, np.float64), np.asarray(mos, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ConfigError(f"agreement needs one score and one MOS for each photo, not {x.shape} and {y.shape}")
    if len(x) < MIN_PHOTOS:
        raise ConfigError(f"agreement needs at least {MIN_PHOTOS} photos, not {len(x)}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ConfigError("agreement needs finite scores and MOS; leave out the photos that have none")
    if np.ptp(y) == 0:
        raise ConfigError(f"the MOS is {y[0]:g} for all {len(y)} photos: there is nothing to agree with")
    return x, y


def _measure_resamples(x: Array, y: Array, drawn: NDArray[np.int64], curve: Logistic | None) -> Array:
    """SRCC, PLCC, KRCC and RMSE (4, B) of the resamples `drawn` (B, n). With a curve, each is fit again."""
    xs, ys = x[drawn], y[drawn]
    srcc, krcc = _ranks(xs, ys)
    if curve:
        counts = np.stack([np.bincount(row, minlength=len(x)) for row in drawn]).astype(np.float64)
        spread = x.std() or 1.0
        whole = (np.array([(curve.middle - x.mean()) / spread]), curve.width / spread)
        z = _standard(x)
        plcc, _, _ = _search(z, y, counts, [*_grid(z), whole])
        rmse = ys.std(axis=1) * np.sqrt(1 - plcc**2)  # what a least-squares fit leaves
    else:
        plcc, rmse = _correlation(xs, ys), _rmse(xs, ys)
    return np.stack([srcc, plcc, krcc, rmse])


def _ranks(xs: Array, ys: Array) -> tuple[Array, Array]:
    """SRCC and KRCC, each (B,), of B rows (B, n)."""
    stats = load("scipy.stats")
    srcc = _correlation(stats.rankdata(xs, axis=1), stats.rankdata(ys, axis=1))
    taus = [stats.kendalltau(*pair, method="asymptotic").statistic for pair in zip(xs, ys, strict=True)]
    return srcc, np.nan_to_num(np.array(taus))


def _fit_sigmoid(z: Array, y: Array) -> tuple[float, float]:
    """The middle and the width, in units of the standard scores `z`, of the best sigmoid."""
    grid = _grid(z)
    _, middle, width = (float(found[0]) for found in _search(z, y, np.ones((1, len(z))), grid))

    def loss(shape: Array) -> float:
        return -abs(float(_correlation(_sigmoid(z, shape[0], np.exp(shape[1])), y)))

    bounds = ((grid[0][0][0], grid[0][0][-1]), (np.log(MIN_WIDTH), np.log(MAX_WIDTH)))
    options = {"xatol": 1e-6, "fatol": 1e-9}
    start = (middle, np.log(width))
    best = load("scipy.optimize").minimize(loss, start, method="Nelder-Mead", bounds=bounds, options=options).x
    return float(best[0]), float(np.exp(best[1]))


def _grid(z: Array) -> list[tuple[Array, float]]:
    """A grid of sigmoids: the middles (61,) and the width of each row."""
    middles = np.linspace(max(z.min(), -MAX_DISTANCE), min(z.max(), MAX_DISTANCE), 61)
    return [(middles, width) for width in np.geomspace(MIN_WIDTH, MAX_WIDTH, 25)]


def _search(z: Array, y: Array, counts: Array, shapes: list[tuple[Array, float]]) -> tuple[Array, Array, Array]:
    """The best of the sigmoids for each of B resamples. Photo i occurs `counts[b, i]` times in resample b.

    A least-squares fit of top and bottom leaves Pearson's correlation of the sigmoid and the MOS as it is, so the best
    sigmoid is the one whose correlation is furthest from 0.

    Returns: that correlation, and the sigmoid's middle and width; each (B,).
    """
    best = np.zeros((3, len(counts)))
    rows, y = np.arange(len(counts)), _standard(y)
    weights = counts.T / len(z)  # (n, B)
    mean_y, deviation_y = _moments(y, weights)
    for middles, width in shapes:
        curves = _standard(_sigmoid(z, middles[:, None], width))  # (M, n)
        mean, deviation = _moments(curves, weights)  # (M, B)
        scale = deviation * deviation_y
        moves = scale > 1e-6
        found = np.where(moves, ((curves * y) @ weights - mean * mean_y) / np.where(moves, scale, 1), 0)
        at = np.abs(found).argmax(axis=0)
        candidate = np.stack([found[at, rows], middles[at], np.full(len(rows), width)])
        best = np.where(np.abs(candidate[0]) > np.abs(best[0]), candidate, best)
    return np.clip(best[0], -1, 1), best[1], best[2]


def _moments(values: Array, weights: Array) -> tuple[Array, Array]:
    """The mean and the standard deviation of rows (..., n) for each column of the weights (n, B)."""
    mean = values @ weights
    return mean, np.sqrt(np.maximum(values**2 @ weights - mean**2, 0))


def _sigmoid(x: Array, middle: Any, width: Any) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh((x - middle) / (2 * width)))


def _standard(values: Array) -> Array:
    """Rows (..., n) with the mean 0 and the standard deviation 1; 0 where a row is constant."""
    centred = values - values.mean(axis=-1, keepdims=True)
    deviation = centred.std(axis=-1, keepdims=True)
    moves = np.ptp(values, axis=-1, keepdims=True) > 0
    return np.where(moves, centred / np.where(moves, deviation, 1), 0)


def _correlation(a: Array, b: Array) -> Array:
    """Pearson's correlation of rows (..., n)."""
    return np.asarray(np.clip((_standard(a) * _standard(b)).mean(axis=-1), -1, 1))


def _rmse(a: Array, b: Array) -> Array:
    return np.asarray(np.sqrt(((a - b) ** 2).mean(axis=-1)))
