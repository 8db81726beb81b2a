"""The words of a comparison: what is told apart, and what is not."""

from __future__ import annotations

import numpy as np

from declip_rt.video.alignment import Offset
from declip_rt.video.compare import Comparison
from declip_rt.video.verdict import DISAGREE, SAME, WORSE, Verdict, bootstrap, judge

RNG = np.random.default_rng(0)
SOURCE = RNG.uniform(0.4, 0.8, 30)
SPREAD = RNG.normal(0, 0.01, 30)


def comparison(change: float, xpsnr: float, spread: float = 1.0, count: int = 30) -> Comparison:
    times = np.arange(float(count))
    changed = SOURCE + change + spread * (SPREAD - SPREAD.mean())
    found = np.full((count, 3), xpsnr)
    source, encode = {"technical": SOURCE[:count]}, {"technical": changed[:count]}
    return Comparison(Offset(0, 1, 0), times, source, encode, times, found, found[:, 0] / 100, float(count))


def test_worse_and_the_same() -> None:
    assert judge(comparison(-0.1, 30)) == WORSE
    assert judge(comparison(0, 100, spread=0)) == SAME
    assert judge(comparison(-0.015, 40)) == SAME, "less than counts"
    assert judge(comparison(-0.03, 40, spread=20)) == SAME, "within what the seconds vary"


def test_few_moments_tell_nothing() -> None:
    """The interval of one moment has no width."""
    for count, verdicts in ((1, (SAME, SAME)), (2, (SAME, SAME)), (3, (WORSE, DISAGREE))):
        assert _judged(comparison(-0.2, 40, 0.1, count), comparison(-0.1, 30, 0.1, count)) == verdicts
    assert judge(comparison(0.2, 30, 0.1, 2)) == SAME


def test_an_encode_that_looks_better_than_its_source() -> None:
    assert judge(comparison(0.1, 30)) == DISAGREE
    assert judge(comparison(0.1, 100)) == SAME, "of the same pictures there is nothing to disagree on"


def _judged(one: Comparison, other: Comparison) -> tuple[Verdict, Verdict]:
    return judge(one), judge(other, [one])


def test_two_encodes_in_opposite_order() -> None:
    """The second row says so, whichever it is: the first is written by then."""
    assert _judged(comparison(-0.1, 40), comparison(-0.2, 30)) == (WORSE, WORSE)
    assert _judged(comparison(-0.2, 40), comparison(-0.1, 30)) == (WORSE, DISAGREE)
    assert _judged(comparison(-0.1, 30), comparison(-0.2, 40)) == (WORSE, DISAGREE)
    assert _judged(comparison(-0.2, 30.3), comparison(-0.1, 30)) == (WORSE, WORSE), "XPSNR hardly differs"


def test_intervals_hold_the_mean_and_narrow_with_more_moments() -> None:
    few, many = (bootstrap({"technical": RNG.normal(-0.1, 0.05, n)})["technical"] for n in (10, 1000))
    for each in (few, many):
        assert each.low < each.mean < each.high
    assert few.high - few.low > 5 * (many.high - many.low)
    assert many.low < -0.1 < many.high
    assert bootstrap({"technical": SPREAD}) == bootstrap({"technical": SPREAD}), "no run differs from another"
