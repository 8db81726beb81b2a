"""Ladders of compression: unseen pictures without loss, and what their technical scores are as quality falls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from declip_rt.model.manifest import Estimate
from declip_rt.scorer import Scorer
from train import distortions, intervals
from train.distortions import QUALITIES, RGB
from train.i2t.lossless import lossless
from train.i2t.manifest import Images
from train.tables import Table

STEPS = ("PNG", *(f"q{quality}" for quality in QUALITIES))
CODECS = {"JPEG": "jpeg", "WebP": "webp", "AVIF": "avif"}  # and the kinds of distortion that they are
SPREAD = 95  # percentile


@dataclass(frozen=True)
class Ladder:
    """Scores (n, 11) of n pictures: without loss, then at each of the falling qualities."""

    codec: str
    scores: NDArray[np.float64]

    def means(self) -> list[Estimate]:
        """The mean score of each step."""
        return [intervals.mean(column) for column in self.scores.T]

    def rise(self) -> tuple[str, Estimate]:
        """The step at which the mean rises most, or falls least: its name, and the rise."""
        steps = np.diff(self.scores, axis=1)
        most = int(steps.mean(0).argmax())
        return f"{STEPS[most]} to {STEPS[most + 1]}", intervals.mean(steps[:, most])

    def order(self) -> Estimate:
        """The median, over pictures, of Spearman's correlation of score and quality."""
        qualities = np.arange(len(STEPS))[::-1]
        return intervals.median([intervals.srcc(scores, qualities) for scores in self.scores])

    def mild(self) -> tuple[Estimate, Estimate]:
        """What q95 takes from the score: the mean, and the 95th percentile of the change of one picture, up or down."""
        taken = self.scores[:, 0] - self.scores[:, STEPS.index("q95")]
        spread = intervals.estimate(lambda some: float(np.percentile(np.abs(taken[some]), SPREAD)), len(taken))
        return intervals.mean(taken), spread


def climb(scorer: Scorer, data: Path) -> list[Ladder]:
    """The ladders of all codecs on the test split's pictures without loss; none where there are no such pictures.

    Raises ConfigError where Pillow lacks a codec.
    """
    rows, images = lossless(data, "test"), Images(data)
    if not rows:
        return []

    def pictures() -> Iterator[RGB]:
        for row in rows:
            rgb, unused = images.open(row), np.random.default_rng(0)
            yield rgb
            for kind in CODECS.values():
                yield from (distortions.distort(rgb, step, unused) for step in distortions.ladder(kind))

    values = np.array([score.technical for score in scorer.score_many(pictures())]).reshape(len(rows), -1)
    lossy = np.split(values[:, 1:], len(CODECS), axis=1)
    return [Ladder(codec, np.hstack([values[:, :1], some])) for codec, some in zip(CODECS, lossy, strict=True)]


def table(ladders: Sequence[Ladder]) -> Table:
    """The mean score of each step."""
    means = zip(STEPS, *(ladder.means() for ladder in ladders), strict=True)
    note = (
        f"Mean technical score of {len(ladders[0].scores)} unseen pictures without loss (PNGs, and photos shrunk to "
        "half), by the runtime; 95 % bootstrap intervals."
    )
    return Table("ladders of compression", note, ("step", *(ladder.codec for ladder in ladders)), tuple(means))
