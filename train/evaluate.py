"""Measures a bundle, through the runtime, on the test splits: `python -m train.evaluate BUNDLE --data DIR`."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from declip_rt.bench.machine import Machine
from declip_rt.errors import DeclipError
from declip_rt.model.manifest import Card, Figure
from declip_rt.ratings import agreement
from declip_rt.scorer import Scorer
from train.distortions import RGB, STRENGTHS, Distortion, distort
from train.rated import TESTED
from train.photos import photos

SERIES = 100  # photos of the distortion series


def card(card: Card, bundle: Path, data: Path) -> Card:
    """The card with the bundle's figures, and when, where and by which command they were measured."""
    return msgspec.structs.replace(
        card,
        figures=tuple(figures(bundle, data)),
        command="python -m train.evaluate BUNDLE --data DIR",
        date=datetime.date.today().isoformat(),
        machine=str(Machine.here()),
    )


def figures(bundle: Path, data: Path) -> Iterator[Figure]:
    with Scorer(bundle, "cpu") as scorer:
        for name, head, what in (("mos", "technical", "LIVE In the Wild"), ("beauty", "aesthetic", "OASIS beauty")):
            listed = photos(data, name, "test")
            values = np.array([getattr(score, head) for score in scorer.score_many([photo.path for photo in listed])])
            found = agreement.measure(values, [photo.score for photo in listed])
            yield Figure(f"{head} SRCC, {what} hold-out", found.srcc.value, found.n)
            yield Figure(f"{head} PLCC, {what} hold-out", found.plcc.value, found.n)
        falls = {kind: monotonicity(scorer, data, kind) for kind in TESTED}
        for kind, fall in falls.items():
            yield Figure(f"technical against strength of {kind}, mean Spearman", float(fall.mean()), len(fall))
        every = np.concatenate(list(falls.values()))
        yield Figure("technical against strength, mean Spearman", float(every.mean()), len(fall))


def monotonicity(scorer: Scorer, data: Path, kind: str) -> NDArray[np.float64]:
    """Spearman's correlation of the technical score with the five strengths of one distortion, for each photo (n,)."""

    def images() -> Iterator[RGB]:
        for i, photo in enumerate(photos(data, "pristine", "test")[:SERIES]):
            rgb = photo.read()
            for strength in STRENGTHS:  # which share the photo's angle, tint, ...: only the strength rises
                yield distort(rgb, Distortion(kind, strength), np.random.default_rng(i))

    values = np.array([score.technical for score in scorer.score_many(images())]).reshape(-1, len(STRENGTHS))
    found = [spearmanr(series, STRENGTHS).statistic for series in values]
    return np.nan_to_num(np.array(found))  # a score that does not move at all does not fall


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.evaluate", description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    try:
        for figure in figures(options.bundle, options.data):
            print(f"{figure.what}: {figure.value:.3f} ({figure.n} photos)")
    except DeclipError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
