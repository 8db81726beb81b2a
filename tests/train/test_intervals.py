"""Intervals hold what repeated measurements would find."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from train import intervals

RNG = np.random.default_rng(5)


def test_the_mean_and_its_interval() -> None:
    values = RNG.normal(3, 2, 400)
    found = intervals.mean(values)
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.04)


def test_values_of_one_photo_are_drawn_together() -> None:
    """Ten copies of each of 40 values tell no more than the 40."""
    values, photos = np.repeat(RNG.normal(0, 1, 40), 10), np.repeat(np.arange(40), 10)
    alone, together = intervals.mean(values), intervals.mean(values, photos)
    assert together.high - together.low == pytest.approx(10**0.5 * (alone.high - alone.low), rel=0.15)
    assert together.value == alone.value


def test_photos_may_have_names_and_unequal_shares() -> None:
    found = intervals.mean([0.0, 1.0, 1.0], ["b", "a", "a"])
    assert (found.low, found.high) == (0, 1)


def test_spearman() -> None:
    x, y = RNG.integers(0, 5, 50), RNG.integers(0, 5, 50)
    assert intervals.srcc(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert intervals.srcc(x, np.ones(50)) == 0


def test_auc() -> None:
    truth, values = RNG.random(60) < 0.3, RNG.integers(0, 6, 60)
    assert intervals.auc(values, truth) == pytest.approx(roc_auc_score(truth, values))
    assert np.isnan(intervals.auc(values, np.zeros(60, bool)))


def test_resamples_without_a_class_are_left_out() -> None:
    truth = np.array([True] + [False] * 30)
    readings = np.stack([truth.astype(float), -truth.astype(float)])
    found = intervals.measure(readings, intervals.auc_of(truth))
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_the_median() -> None:
    assert intervals.median([1.0, 1.0, 1.0, 5.0]).value == 1
