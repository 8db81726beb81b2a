"""How near a graph in lower precision comes to the FP32 one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from declip_rt.model.manifest import Parity
from declip_rt.scorer import Scorer

MIN_PHOTOS = 50  # fewer prove nothing


def measure(bundle: Path, precision: str, photos: Sequence[Path]) -> Parity:
    """Scores the photos by both graphs of the bundle, through the runtime. Raises ImageError for one that fails."""
    ours, reference = (scores(bundle, photos, precision=name) for name in (precision, "fp32"))
    change = float(np.abs(ours - reference).max())
    return Parity(len(photos), change, srcc=float(np.nan_to_num(lowest_srcc(ours, reference))))


def lowest_srcc(ours: NDArray[Any], reference: NDArray[Any]) -> float:
    """The worst head's rank correlation (Spearman) of scores (n, K). NaN where a head gives all images one score."""
    return float(np.min([spearmanr(*pair).statistic for pair in zip(ours.T, reference.T, strict=True)]))


def scores(bundle: Path, photos: Sequence[Path] | Sequence[bytes], **options: str) -> NDArray[np.float64]:
    """The photos' scores (n, K), by a Scorer with these options. Raises ImageError for a photo that fails."""
    with Scorer(bundle, "cpu", **options) as scorer:  # type: ignore[arg-type]
        return np.array([[score[head.name] for head in scorer.bundle.heads] for score in scorer.score_many(photos)])
