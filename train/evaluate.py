"""Measures a bundle, through the runtime, on the test splits: `python -m train.evaluate BUNDLE --data DIR`."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from declip_rt.bench.machine import Machine
from declip_rt.errors import DeclipError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import Card, Estimate, Figure
from declip_rt.ratings import agreement
from declip_rt.scorer import Scorer
from train import intervals, ladder, wording
from train.distortions import RGB, STRENGTHS, Distortion, distort
from train.ladder import SPREAD, Ladder
from train.photos import photos
from train.rated import TESTED

SERIES = 100  # photos of the distortion series


def card(card: Card, bundle: Path, data: Path) -> Card:
    """The card with the bundle's figures, and when, where and by which command they were measured."""
    return msgspec.structs.replace(
        card,
        figures=measure(bundle, data).figures,
        command="python -m train.evaluate BUNDLE --data DIR",
        date=datetime.date.today().isoformat(),
        machine=str(Machine.here()),
    )


@dataclass(frozen=True)
class Measured:
    """All that is measured of a bundle; the figures tell of the ladders, too, but of their steps."""

    figures: tuple[Figure, ...]
    ladders: tuple[Ladder, ...]


def measure(bundle: Path, data: Path) -> Measured:
    """Scores the test splits. A bundle without a text tower gets no figures on words. Raises DeclipError."""
    has_text = Bundle(bundle).manifest.text is not None
    with Scorer(bundle, "cpu", prompts=wording.prompts() if has_text else ()) as scorer:
        ladders = tuple(ladder.climb(scorer, data))
        found = [
            *people(scorer, data),
            *strengths(scorer, data),
            *(one for some in ladders for one in compressed(some)),
        ]
        if has_text:
            words = (*wording.contents(scorer, data), *wording.synonyms(scorer, data))
            found += [_figure(some.what, some.value, some.n) for some in words]
    return Measured(tuple(found), ladders)


def people(scorer: Scorer, data: Path) -> Iterator[Figure]:
    """The agreement of the quality heads with people."""
    for name, head, what in (("mos", "technical", "LIVE In the Wild"), ("beauty", "aesthetic", "OASIS beauty")):
        listed = photos(data, name, "test")
        values = np.array([getattr(score, head) for score in scorer.score_many([photo.path for photo in listed])])
        found = agreement.measure(values, [photo.score for photo in listed])
        yield _figure(f"{head} SRCC, {what} hold-out", found.srcc, found.n)
        yield _figure(f"{head} PLCC, {what} hold-out", found.plcc, found.n)


def strengths(scorer: Scorer, data: Path) -> Iterator[Figure]:
    """How surely the technical score falls as distortions grow."""
    falls = {kind: monotonicity(scorer, data, kind) for kind in TESTED}
    for kind, fall in falls.items():
        yield _figure(f"technical against strength of {kind}, mean Spearman", intervals.mean(fall), len(fall))
    every = np.mean(list(falls.values()), axis=0)
    yield _figure("technical against strength, mean Spearman", intervals.mean(every), len(every))


def monotonicity(scorer: Scorer, data: Path, kind: str) -> NDArray[np.float64]:
    """Spearman's correlation of the technical score with the five strengths of one distortion, for each photo (n,).

    A score that does not move at all has a correlation of 0.
    """

    def images() -> Iterator[RGB]:
        for i, photo in enumerate(photos(data, "pristine", "test")[:SERIES]):
            rgb = photo.read()
            for strength in STRENGTHS:  # which share the photo's angle, tint, ...: only the strength rises
                yield distort(rgb, Distortion(kind, strength), np.random.default_rng(i))

    values = np.array([score.technical for score in scorer.score_many(images())]).reshape(-1, len(STRENGTHS))
    return np.array([intervals.srcc(series, STRENGTHS) for series in values])


def compressed(climbed: Ladder) -> Iterator[Figure]:
    """What compression does to the technical score."""
    what, n = f"technical along {climbed.codec}", len(climbed.scores)
    where, rise = climbed.rise()
    taken, spread = climbed.mild()
    yield _figure(f"{what}, largest rise of the mean: {where}", rise, n)
    yield _figure(f"{what}, PNG less q95, mean", taken, n)
    yield _figure(f"{what}, PNG less q95 of one picture, up or down, {SPREAD}th percentile", spread, n)
    yield _figure(f"{what}, Spearman with quality, median of pictures", climbed.order(), n)


def _figure(what: str, found: Estimate, n: int) -> Figure:
    return Figure(what, found.value, n, found.low, found.high)


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.evaluate", description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    try:
        measured = measure(options.bundle, options.data)
    except DeclipError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    for figure in measured.figures:
        print(f"{figure.what}: {figure} of {figure.n} photos")
    if measured.ladders:
        print(ladder.table(measured.ladders).markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
