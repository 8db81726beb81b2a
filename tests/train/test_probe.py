"""Probes find what is planted in features, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from train import probe

RNG = np.random.default_rng(0)


def features(n: int) -> np.ndarray:
    made = RNG.standard_normal((n, 24)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_regression() -> None:
    train, test, weights = features(300), features(100), RNG.standard_normal(24)
    read = probe.regress(train, train @ weights, test)
    assert spearmanr(read, test @ weights).statistic > 0.95
    assert abs(spearmanr(probe.regress(train, RNG.random(300), test), RNG.random(100)).statistic) < 0.35


def test_classification() -> None:
    train, test = features(400), features(100)
    label = lambda x: np.where(x[:, 0] > 0, "up", "down")  # noqa: E731
    assert (probe.classify(train, label(train), test) == label(test)).mean() > 0.9


def test_prompts_lean_to_their_side() -> None:
    low, high = np.eye(24, dtype=np.float32)[:2], np.eye(24, dtype=np.float32)[2:4]
    leans = probe.lean(np.eye(24, dtype=np.float32)[[0, 2, 10]], low, high)
    assert leans == pytest.approx([-(0.5**0.5), 0.5**0.5, 0])


def test_neighbours() -> None:
    centres = features(5)
    made = np.repeat(centres, 4, axis=0) + 0.01 * RNG.standard_normal((20, 24)).astype(np.float32)
    labels = np.repeat(np.arange(5), 4)
    assert probe.neighbour_shares(made, labels, block=7).tolist() == [1.0] * 20
    assert probe.neighbour_shares(made, np.arange(20)).sum() == 0
