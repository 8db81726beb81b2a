"""Whether encodes differ from their source, as far as the model and XPSNR can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from declip_rt.video.compare import Comparison
from declip_rt.video.fidelity import MOST, average

Verdict: TypeAlias = Literal["worse", "no difference that this model can tell", "model and XPSNR disagree"]
WORSE: Verdict = "worse"
SAME: Verdict = "no difference that this model can tell"
DISAGREE: Verdict = "model and XPSNR disagree"
LEAST = 0.02  # a change of the technical score that counts
LEAST_DB = 0.5  # and of XPSNR
FEWEST = 3  # moments that tell a change from chance
RESAMPLES = 2000


class Delta(NamedTuple):
    """A mean change, and between what it lies in 95 % of paired bootstrap samples."""

    mean: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """-1 or 1 where the change counts and its interval is on one side of 0; else 0."""
        if abs(self.mean) < LEAST or self.low <= 0 <= self.high:
            return 0
        return 1 if self.mean > 0 else -1


def bootstrap(changes: Mapping[str, NDArray[np.float64]]) -> dict[str, Delta]:
    """The mean of each head's changes (n,) with its interval; moments are drawn anew, the same for all heads."""
    values = np.stack([*changes.values()])
    draw = np.random.default_rng(0)
    count = values.shape[1]
    means = np.stack([values[:, draw.integers(0, count, count)].mean(axis=1) for _ in range(RESAMPLES)])
    low, high = np.percentile(means, (2.5, 97.5), axis=0)
    return {
        head: Delta(float(each.mean()), float(low[i]), float(high[i]))
        for i, (head, each) in enumerate(zip(changes, values, strict=True))
    }


def _sign(changes: NDArray[np.float64]) -> int:
    """As Delta.sign; 0 where the moments are too few."""
    return bootstrap({"technical": changes})["technical"].sign if len(changes) >= FEWEST else 0


def judge(found: Comparison, before: Sequence[Comparison] = ()) -> Verdict:
    """The verdict of an encode, after others of one source.

    The model and XPSNR disagree where the model likes an encode better than its source, or where both put it and one
    of those before in opposite order.
    """
    if any(_liked_more(found, other) or _liked_more(other, found) for other in before):
        return DISAGREE
    return _alone(found)


def _alone(found: Comparison) -> Verdict:
    sign = _sign(found.deltas["technical"])
    if sign > 0 and average(found.xpsnr) < MOST:
        return DISAGREE
    return WORSE if sign < 0 else SAME


def _liked_more(one: Comparison, other: Comparison) -> bool:
    """Whether the model likes `one` better though XPSNR finds it farther from the source."""
    if average(one.xpsnr) > average(other.xpsnr) - LEAST_DB:
        return False
    _, mine, theirs = np.intersect1d(one.times, other.times, return_indices=True)
    return _sign(one.encode["technical"][mine] - other.encode["technical"][theirs]) > 0
