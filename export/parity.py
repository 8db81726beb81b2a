"""How near a graph in lower precision comes to the FP32 one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from declip_rt.model.manifest import Parity
from declip_rt.scorer import Scorer

LEAST = 50  # photos that prove anything


def measure(bundle: Path, precision: str, photos: Sequence[Path]) -> Parity:
    """Scores the photos by both graphs of the bundle, through the runtime. Raises ImageError for one that fails."""
    ours, reference = (scores(bundle, photos, precision=name) for name in (precision, "fp32"))
    ranks = [spearmanr(*pair).statistic for pair in zip(ours.T, reference.T, strict=True)]
    return Parity(float(np.nan_to_num(ranks).min()), float(np.abs(ours - reference).max()), len(photos))


def scores(bundle: Path, photos: Sequence[Path] | Sequence[bytes], **options: str) -> NDArray[np.float64]:
    """(n, K), by a Scorer with these options. Raises ImageError for a photo that fails."""
    with Scorer(bundle, "cpu", **options) as scorer:  # type: ignore[arg-type]
        rows = [
            {"technical": score.technical, "aesthetic": score.aesthetic, **score.attributes}
            for score in scorer.score_many(photos)
        ]
        return np.array([[row[head.name] for head in scorer.bundle.heads] for row in rows])
