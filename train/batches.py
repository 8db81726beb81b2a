"""Batches for stage 1, each a pure function of the seed and the step, so that a resumed run sees the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from train import texts
from train.config import ClipConfig
from train.distortions import RGB, distort
from train.i2t.synthetic import draw
from train.photos import Photo, photos

BOTH, LOOKS, SHOWS = 0.5, 0.4, 0.1  # how often a batch's captions carry both texts, the perceptual, the semantic
GRADED = 0.1  # how often a distorted photo's caption names its quality alone


@dataclass(frozen=True)
class Batch:
    """`pixels` uint8 (B, S, S, 3): distorted pristine photos, then photos with a MOS, then ones with a beauty score."""

    pixels: np.ndarray
    captions: list[str]  # of the distorted ones
    mos: np.ndarray  # (n, 5) soft targets over texts.QUALITY
    beauty: np.ndarray  # (m, 5) soft targets over texts.BEAUTY


class Batches(Dataset[Batch]):
    """`batches[step]`. All photos are held in memory."""

    def __init__(self, data: Path, config: ClipConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.pristine = _load(photos(data, "pristine", "train"), 256)
        self.mos = _load(photos(data, "mos", "train"), 512)
        self.beauty = _load(photos(data, "beauty", "train"), 512)
        self.mos_levels = texts.level_centres([photo.score for photo, _ in self.mos])
        self.beauty_levels = texts.level_centres([photo.score for photo, _ in self.beauty])

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> Batch:
        c, rng = self.config, np.random.default_rng((self.seed, step))
        caption = rng.choice(
            [texts.joint, lambda a, _: texts.perceptual(a), lambda _, s: texts.semantic(s)], p=[BOTH, LOOKS, SHOWS]
        )
        pixels, captions = [], []
        for i in rng.choice(len(self.pristine), c.photos, replace=len(self.pristine) < c.photos):
            photo, rgb = self.pristine[i]
            for distortions in draw(c.variants, rng):
                crop = _square(rgb, rng, c.crop, c.crop if rng.random() < 0.6 else min(rgb.shape[:2]))
                for distortion in distortions:
                    crop = distort(crop, distortion, rng)
                said = caption(texts.looks(crop, distortions, rng), photo.label)
                captions.append(texts.quality(distortions) if rng.random() < GRADED else said)
                pixels.append(_fit(crop, c.crop))
        for scored, count in ((self.mos, c.mos_photos), (self.beauty, c.beauty_photos)):
            for i in (picked := rng.choice(len(scored), count, replace=len(scored) < count)):
                rgb = scored[i][1]
                pixels.append(
                    _fit(_square(rgb, rng, c.crop, c.crop if rng.random() < 0.5 else min(rgb.shape[:2])), c.crop)
                )
            if scored is self.mos:
                mos = picked
        return Batch(
            np.stack(pixels),
            captions,
            _levels([self.mos[i][0].score for i in mos], self.mos_levels),
            _levels([self.beauty[i][0].score for i in picked], self.beauty_levels),
        )


def _levels(scores: list[float], centres: tuple[float, ...]) -> np.ndarray:
    return np.array([texts.level_weights(score, centres) for score in scores], np.float32).reshape(-1, len(centres))


def _load(listed: list[Photo], max_short_side: int) -> list[tuple[Photo, RGB]]:
    return [(photo, photo.read(max_short_side)) for photo in listed]


def _square(rgb: RGB, rng: np.random.Generator, least: int, most: int) -> RGB:
    """A random square whose side is log-uniform in [least, most], flipped half of the time."""
    height, width = rgb.shape[:2]
    side = min(round(np.exp(rng.uniform(np.log(least), np.log(max(least, most))))), height, width)
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    crop = rgb[top : top + side, left : left + side]
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


def _fit(rgb: RGB, side: int) -> RGB:
    if rgb.shape[0] == side:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((side, side), Image.Resampling.BICUBIC))
