"""Verdicts for images that nobody rated, by linear heads on the coarse feature.

A rated photo's own score would be learned by heart, and a head would then trust what unseen photos lack. So rated
photos get no verdict, and keep no score, in stages 1 and 2. What a linear head says of the others is a smooth function
of the coarse feature, and so it can be said of every image, distorted ones too.
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
    """The rows; those with texts get verdicts and scores on quality and beauty, and rated ones lose their scores."""
    readers = new_heads(dimension(config.clip.model))
    heads.learn(readers, msgspec.structs.replace(config, heads=config.judge), rated)
    described = [i for i, row in enumerate(rows) if row.perceptual or row.semantic]
    stored = encode([Item(rows[i]) for i in described], "texts")
    usable = [place for place in range(len(described)) if place not in stored.failures]
    coarse, rng = stored[usable], np.random.default_rng((config.seed, 7))
    judged = [msgspec.structs.replace(row, scores={}) for row in rows]
    for name, words in LEVELS.items():
        head, low, high = SCALES[name]
        with torch.no_grad():
            scores = readers[head](coarse).tolist()
        centres = texts.level_centres(scores)
        for place, score in zip(usable, scores, strict=True):
            row = judged[described[place]]
            if not rows[described[place]].scores:
                said = (texts.verdict(words, score, centres, rng) for _ in range(VERDICTS))
                perceptual = tuple(dict.fromkeys((*row.perceptual, *said)))
                scored = row.scores | {name: score * (high - low) + low}
                judged[described[place]] = msgspec.structs.replace(row, perceptual=perceptual, scores=scored)
    return judged
