"""What can be read from features that stay as they are: linear probes, prompts, neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Features = NDArray[np.float32]  # (N, D)
Values = NDArray[np.float64]  # (N,)
PENALTIES = np.logspace(0, 5, 16)


def regress(train: Features, target: Values, test: Features) -> Values:
    """A linear probe: ridge regression on standardised features, its penalty chosen on the training photos."""
    model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(train, target)
    return np.asarray(model.predict(test), np.float64)


def classify(train: Features, labels: NDArray[np.str_], test: Features) -> NDArray[np.str_]:
    """A linear probe: multinomial logistic regression on standardised features."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=400))
    return np.asarray(model.fit(train, labels).predict(test))


def lean(features: Features, low: Features, high: Features) -> Values:
    """Zero-shot: how much nearer unit features are to the prompts `high` (P, D) than to `low` (P, D)."""
    sides = [side.mean(0) / np.linalg.norm(side.mean(0)) for side in (high, low)]
    return np.asarray(features @ (sides[0] - sides[1]), np.float64)


def neighbour_shares(features: Features, labels: NDArray[np.generic], block: int = 1024) -> Values:
    """(N,) 1 where the nearest other unit feature has the same label, else 0."""
    shares = []
    for first in range(0, len(features), block):
        near = features[first : first + block] @ features.T
        near[np.arange(len(near)), first + np.arange(len(near))] = -np.inf
        shares.append(labels[near.argmax(1)] == labels[first : first + block])
    return np.concatenate(shares).astype(np.float64)
