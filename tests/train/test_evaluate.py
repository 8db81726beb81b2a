"""The measures say what they are said to say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

from declip_rt import Scorer
from tests.training import Recipe
from train.evaluate import machine, monotonicity, plcc


def test_plcc_sees_through_a_logistic() -> None:
    values = np.linspace(-3, 3, 80)
    truth = 20 + 60 / (1 + np.exp(-2 * (values - 0.5)))
    assert pearsonr(values, truth).statistic < 0.98
    assert plcc(values, truth) == pytest.approx(1, abs=1e-4)


def test_plcc_of_unrelated_values_is_small() -> None:
    rng = np.random.default_rng(0)
    assert abs(plcc(rng.random(500), rng.random(500))) < 0.2


def test_monotonicity_is_one_number_a_photo(recipe: Recipe, scorer: Scorer) -> None:
    falls = monotonicity(scorer, recipe.data, "dark")
    assert falls.shape == (4,)
    assert (np.abs(falls) <= 1).all()


def test_the_machine_is_named() -> None:
    assert "cores" in machine()
