"""What a user's own words find in unseen photos, by the bundle's text tower: contents, and whether synonyms agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from declip_rt.images.load import ImageLike
from declip_rt.model.manifest import Estimate
from declip_rt.prompts import Prompts
from declip_rt.scorer import Scorer
from train import content, intervals, texts
from train.distortions import KINDS, STRENGTHS, Distortion, distort
from train.photos import photos

SYNONYMS = (  # words for one thing, and one for its opposite
    (("blurry", "out of focus", "unsharp"), "sharp"),
    (("noisy", "grainy", "gritty"), "clean"),
    (("dark", "dim", "underexposed"), "bright"),
)
FORMS = {"alone": str, "in a sentence": texts.perceptual}
LEAST = 5  # photos that show a kind, and that do not, for it to be measured


@dataclass(frozen=True)
class Found:
    """A figure of what words find, on `n` photos."""

    what: str
    value: Estimate
    n: int


def prompts() -> tuple[Prompts, ...]:
    """All that `contents` and `synonyms` need of a scorer."""
    shown = [
        Prompts(f"{name} {high}:{low}", (high,), (low,), "semantic")
        for name, kind in content.kinds().items()
        for high, low in kind.words
    ]
    looks = [
        Prompts(f"{form} {word}", (write(word),), (write(opposite),))
        for form, write in FORMS.items()
        for words, opposite in SYNONYMS
        for word in words
    ]
    return (*shown, *looks)


def contents(scorer: Scorer, data: Path) -> Iterator[Found]:
    """How well each kind of thing is found among the labelled test photos: the mean and the lowest AUC of its words."""
    labelled = content.labelled(data)
    scores = list(scorer.score_many([photo.path for photo in labelled]))
    for name, kind in content.kinds().items():
        known = [(score.prompts, photo.shows[name]) for score, photo in zip(scores, labelled, strict=True)]
        known = [(values, answer) for values, answer in known if answer is not None]
        truth = np.array([answer for _, answer in known], bool)
        if min(truth.sum(), (~truth).sum()) < LEAST:
            continue
        read = np.array([[values[f"{name} {high}:{low}"] for values, _ in known] for high, low in kind.words])
        worst = int(np.argmin([intervals.auc(one, truth) for one in read]))
        what, n = f"{name} by own words ({truth.sum()} of the photos show it), AUC", len(truth)
        high, low = kind.words[worst]
        agree = intervals.auc_of(truth)
        yield Found(f"{what}, mean of {len(read)} pairs", intervals.measure(read, agree), n)
        yield Found(f"{what}, lowest: {high}:{low}", intervals.measure(read[worst : worst + 1], agree), n)


def synonyms(scorer: Scorer, data: Path) -> Iterator[Found]:
    """The SRCC of the two words, of those for one thing, that agree least."""
    scores = [score.prompts for score in scorer.score_many(_pictures(data))]
    for words, opposite in SYNONYMS:
        pairs = {}
        for form in FORMS:
            read = {word: np.array([values[f"{form} {word}"] for values in scores]) for word in words}
            pairs |= {(form, *two): (read[two[0]], read[two[1]]) for two in combinations(words, 2)}
        least = min(pairs, key=lambda pair: intervals.srcc(*pairs[pair]))
        x, y = pairs[least]
        found = intervals.measure(x, intervals.srcc_with(y))
        form, one, other = least
        listed = ", ".join(words)
        yield Found(f"{listed} against {opposite}, lowest SRCC of two: {one} and {other}, {form}", found, len(x))


def _pictures(data: Path) -> Iterator[ImageLike]:
    """Unseen photos with faults of their own, and without, as they are and with a distortion of any kind."""
    yield from (photo.path for photo in photos(data, "mos", "test"))
    for i, photo in enumerate(photos(data, "pristine", "test")):
        rng = np.random.default_rng((i, 7))
        yield photo.path
        yield distort(photo.read(), Distortion(str(rng.choice(list(KINDS))), float(rng.choice(STRENGTHS))), rng)
