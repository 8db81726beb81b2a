"""Verdicts for images that nobody rated, by linear heads on the coarse feature.

A rated photo's own score would be learned by heart. What a linear head says of it is a smooth function of the coarse
feature, and so it can be said of every image, distorted ones too: perceptual texts on quality and beauty for all.
"""

from __future__ import annotations

import msgspec
import numpy as np
import torch

from train import heads, texts
from train.batches import LEVELS
from train.config import Config
from train.features import Encoder, Item
from train.i2t.manifest import Row
from train.model import dimension, new_heads
from train.rated import SCALES, Rated

VERDICTS = 2  # phrases on each of quality and beauty


def judge(rows: list[Row], rated: Rated, encode: Encoder, config: Config) -> list[Row]:
    """The rows, each with verdicts among its perceptual texts, and with what the heads say as its scores.

    Rows without any text are left as they are.
    """
    readers = new_heads(dimension(config.clip.model))
    penalties = heads.learn(readers, config, rated)
    described = [i for i, row in enumerate(rows) if row.perceptual or row.semantic]
    stored = encode([Item(rows[i]) for i in described], "texts")
    usable = [place for place in range(len(described)) if place not in stored.failures]
    coarse, rng, judged = stored[usable], np.random.default_rng((config.seed, 7)), list(rows)
    for name, words in LEVELS.items():
        head, low, high = SCALES[name]
        with torch.no_grad():
            scores = readers[head](coarse).tolist()
        for some in rated.scored:  # of a photo that a head was fit to, it would say what it has learned by heart
            if some.name == name and len(some.scores) >= heads.FOLDS:
                own = heads.unseen(some, rated, config.heads, penalties[head])
                scores = [
                    own.get(rows[described[place]].image, score) for place, score in zip(usable, scores, strict=True)
                ]
        centres = texts.level_centres(scores)
        for place, score in zip(usable, scores, strict=True):
            row = judged[described[place]]
            said = (texts.verdict(words, score, centres, rng) for _ in range(VERDICTS))
            perceptual = tuple(dict.fromkeys((*row.perceptual, *said)))
            scored = row.scores | {name: score * (high - low) + low}
            judged[described[place]] = msgspec.structs.replace(row, perceptual=perceptual, scores=scored)
    return judged
