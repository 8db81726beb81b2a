"""What the heads learn from: features of photos with people's scores, and of photos that only get worse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from declip_rt.errors import ConfigError
from train import readers
from train.config import FeaturesConfig, SetConfig
from train.distortions import KINDS, STRENGTHS, Distortion, ladder
from train.features import Coarse, Encoder, Item, jittered
from train.i2t.lossless import lossless
from train.i2t.manifest import Row
from train.photos import SETS, photos

SCALES = {"mos": ("technical", 0.0, 100.0), "beauty": ("aesthetic", 1.0, 7.0)}  # set: its head and range
TESTED = ("blur", "noise", "jpeg", "dark")  # half of the series are of these
CODECS = ("jpeg", "webp")  # of the ladders
REFERENCES = 1000  # photos of a published set that percentiles refer to, at most


@dataclass(frozen=True)
class Scored:
    """A set of photos and people's scores of one quality."""

    name: str
    head: str  # technical or aesthetic
    features: Tensor  # (P, J, D): J jitters of each photo
    scores: Tensor  # (P,), the set's range brought to [0, 1]


@dataclass(frozen=True)
class Rated:
    """What stage 3 learns from: coarse features, float32 (..., D), and scores."""

    scored: tuple[Scored, ...]
    series: Tensor  # (R, 6, D): a photo, and it with one kind of fault at the five rising strengths
    ladders: Tensor  # (L, 11, D): a lossless photo, and it compressed more and more
    reference: Tensor  # (U, D): photos as they are
    referred: str  # which photos these are
    val: Scored | None  # technical


def rated(
    encode: Encoder, config: FeaturesConfig, data: Path | None, seed: int, sets: Sequence[SetConfig] = ()
) -> Rated:
    """Computes the features, or reads them where the same settings and weights made them.

    `data` is the data folder that train/README.md describes. Without it there are the published `sets` alone.

    Raises:
        ConfigError: there are neither, or a set is not what its reader reads.
    """
    scored, published = [], []
    for name in SCALES if data else ():
        listed = rows(data, name, "train")
        scored.append(_scored(name, listed, encode(jittered(listed, config.jitters, seed), name), config.jitters))
    for some in sets:
        dataset = readers.read(some.reader, Path(some.folder))
        items = dataset.of("train")
        listed = [Row(str(item.path.absolute())) for item in items]
        published += listed
        made, whole = _whole(encode(jittered(listed, config.jitters, seed), some.reader), config.jitters)
        scores = torch.tensor([dataset.unit(item) for item in items])[whole]
        scored.append(Scored(some.folder, dataset.what, made, scores))
    if not scored:
        raise ConfigError("there are no photos with scores: give --data, or [[heads.sets]] in the configuration")
    clean = rows(data, "pristine", "train") if data else published
    best = (lossless(data, "train") or clean) if data else [Row(row.image, shrink=2) for row in published]
    reference, referred = _reference(data, published, sets)
    val = rows(data, "mos", "val") if data else []
    series = encode(list(_series(clean, config.series, seed)), "series")
    return Rated(
        scored=tuple(scored),
        series=_whole(series, 1 + len(STRENGTHS))[0],
        ladders=torch.cat([_ladders(encode, best, codec, config.ladders, seed) for codec in CODECS]),
        reference=_whole(encode([Item(row) for row in reference], "reference"), 1)[0].squeeze(1),
        referred=referred,
        val=_scored("mos", val, encode([Item(row) for row in val], "val"), 1) if val else None,
    )


def rows(data: Path, name: str, split: str) -> list[Row]:
    """The photos of a set, named from `data` on, with their scores by the set's name and without texts."""
    listed = photos(data, name, split)
    named = [(str(photo.path.relative_to(data)), photo.score) for photo in listed]
    return [Row(image, (), scores={} if isnan(score) else {name: score}) for image, score in named]


def _reference(data: Path | None, published: list[Row], sets: Sequence[SetConfig]) -> tuple[list[Row], str]:
    """Photos as they are, for percentiles to refer to, and their names."""
    if data is None:
        some = published[:: max(1, -(-len(published) // REFERENCES))]
        return some, f"{len(some)} photos of {', '.join(one.reader for one in sets)}"
    parts = {name: rows(data, name, "val") for name in ("pristine", *SCALES)}
    named = ", ".join(f"{len(part)} of {SETS[name].title}" for name, part in parts.items())
    return [row for part in parts.values() for row in part], f"photos of the val splits, undistorted: {named}"


def _series(clean: list[Row], count: int, seed: int) -> Iterator[Item]:
    rng, faults = np.random.default_rng((seed, 3)), [name for name, kind in KINDS.items() if kind.fault]
    for i in rng.choice(len(clean), count, replace=len(clean) < count):
        kind = str(rng.choice(TESTED if rng.random() < 0.5 else faults))
        drawn = int(rng.integers(2**32))  # the strengths share angle, tint, ...: only the strength rises
        for edit in ((), *((Distortion(kind, strength),) for strength in STRENGTHS)):
            yield Item(Row(clean[i].image, (), edits=edit, seed=drawn))


def _ladders(encode: Encoder, best: list[Row], codec: str, count: int, seed: int) -> Tensor:
    """(L, 11, D) of up to `count` photos that are lossless or as good."""
    drawn = np.random.default_rng((seed, 4)).permutation(len(best))[:count]
    steps = [(), *((edit,) for edit in ladder(codec))]
    items = [Item(Row(best[i].image, edits=edit, shrink=best[i].shrink)) for i in drawn for edit in steps]
    return _whole(encode(items, f"{codec} ladders"), len(steps))[0]


def _scored(name: str, listed: list[Row], stored: Coarse, each: int) -> Scored:
    made, whole = _whole(stored, each)
    head, low, high = SCALES[name]
    scores = torch.tensor([row.scores[name] for row in listed])[whole]
    return Scored(name, head, made, (scores - low) / (high - low))


def _whole(stored: Coarse, each: int) -> tuple[Tensor, Tensor]:
    """(N, each, D), less the groups that lack a feature, and which were kept."""
    made = stored[range(len(stored))].unflatten(0, (-1, each))
    whole = ~made.isnan().any(-1).any(-1)
    return made[whole], whole
