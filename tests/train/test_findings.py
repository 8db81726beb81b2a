"""A claim holds where the interval of the paired difference says so."""

from __future__ import annotations

import numpy as np

from train import findings, intervals

RNG = np.random.default_rng(3)
TRUTH = RNG.normal(size=200)
BLUNT = TRUTH + RNG.normal(size=200)
SHARP = TRUTH + RNG.normal(scale=0.2, size=200)


def claimed(more: np.ndarray, less: np.ndarray) -> findings.Finding:
    sides = ("perceptual", more), ("coarse", less)
    return findings.compare("quality, SRCC", *sides, intervals.srcc_with(TRUTH))


def test_a_claim_that_holds() -> None:
    found = claimed(SHARP, BLUNT)
    assert found.holds
    assert str(found).startswith("quality, SRCC: perceptual 0.9")
    assert str(found).endswith("the intervals are apart. The claim holds.")


def test_the_other_way_round() -> None:
    assert str(claimed(BLUNT, SHARP)).endswith("The claim does not hold: it is the other way round.")


def test_what_cannot_be_told_does_not_hold() -> None:
    found = claimed(SHARP, TRUTH + RNG.normal(scale=0.2, size=200))
    assert found.difference.low < 0 < found.difference.high
    assert str(found).endswith("The claim does not hold: there may be no difference.")


def test_pairs_tell_more_than_the_two_intervals() -> None:
    """The noise of both is the same: the intervals overlap, and yet one is the better on nearly every resample."""
    found = claimed(BLUNT, BLUNT - 0.2 * TRUTH)
    assert found.holds
    assert "apart" not in str(found)


def test_photos_are_drawn_whole() -> None:
    values = np.array([1.0, 1.0, 0.0, 0.0])
    found = findings.compare("share", ("a", values), ("b", 0 * values), intervals.share, ["x", "x", "y", "y"])
    assert (found.difference.low, found.difference.value, found.difference.high) == (0, 0.5, 1)
    assert not found.holds


def test_areas_are_of_each_reading() -> None:
    truth = np.arange(40) % 2 == 0
    found = findings.compare(
        "animals, AUC",
        ("semantic", np.stack([truth, ~truth]).astype(float)),
        ("coarse", np.stack([~truth, ~truth]).astype(float)),
        intervals.auc_of(truth),
    )
    assert [figure.value for figure in found.figures] == [0.5, 0]
