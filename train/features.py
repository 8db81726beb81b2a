"""The frozen model's features of the training photos, computed once and kept beside the checkpoint."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import count, islice
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

from declip_rt.bundle import ViewSpec
from declip_rt.views import write_views
from train import texts
from train.config import FeaturesConfig
from train.distortions import KINDS, RGB, STRENGTHS, Distortion, distort
from train.i2t.synthetic import draw
from train.model import Declip
from train.photos import Photo, photos

log = logging.getLogger("train.features")
TESTED = ("blur", "noise", "jpeg", "dark")  # half of the series are of these


@dataclass(frozen=True)
class Features:
    """Coarse features, float32 (..., D), with their texts and scores."""

    distorted: Tensor  # (M, D) distorted pristine photos
    looks: list[str]  # M perceptual texts
    shows: list[str]  # M semantic texts
    series: Tensor  # (R, 6, D): a photo, and it with one kind of distortion at the five rising strengths
    mos: Tensor  # (P, J, D): J jitters of each photo
    mos_scores: Tensor  # (P,)
    beauty: Tensor  # (Q, J, D)
    beauty_scores: Tensor  # (Q,)
    reference: Tensor  # (U, D): the val splits, as they are
    val_mos: Tensor  # (W, D)
    val_mos_scores: Tensor  # (W,)


def features(model: Declip, config: FeaturesConfig, spec: ViewSpec, data: Path, out: Path, seed: int) -> Features:
    """Computes the features, or reads them from `out/features.pt` where the same settings and weights made it."""
    file, key = out / "features.pt", _key(model, config, spec, seed)
    if file.is_file() and (state := torch.load(file, weights_only=True))["key"] == key:
        return Features(**state["features"])
    rng = np.random.default_rng((seed, 2))
    train = {name: photos(data, name, "train") for name in ("pristine", "mos", "beauty")}
    val = {name: photos(data, name, "val") for name in ("pristine", "mos", "beauty")}

    def encode(images: Iterable[RGB], what: str) -> Tensor:
        return _encode(model, spec, images, what)

    looks: list[str] = []
    shows: list[str] = []
    made = Features(
        distorted=encode(_distorted(train["pristine"], config.variants, rng, looks, shows), "distorted"),
        looks=looks,
        shows=shows,
        series=encode(_series(train["pristine"], config.series, rng), "series").unflatten(0, (-1, 1 + len(STRENGTHS))),
        mos=encode(_jittered(train["mos"], config.jitters, rng), "mos").unflatten(0, (-1, config.jitters)),
        mos_scores=_scores(train["mos"]),
        beauty=encode(_jittered(train["beauty"], config.jitters, rng), "beauty").unflatten(0, (-1, config.jitters)),
        beauty_scores=_scores(train["beauty"]),
        reference=encode((photo.read() for name in val for photo in val[name]), "reference"),
        val_mos=encode((photo.read() for photo in val["mos"]), "val"),
        val_mos_scores=_scores(val["mos"]),
    )
    partial = file.with_suffix(".partial")
    torch.save({"key": key, "features": {field.name: getattr(made, field.name) for field in fields(made)}}, partial)
    partial.replace(file)
    return made


def _key(model: Declip, config: FeaturesConfig, spec: ViewSpec, seed: int) -> str:
    digest = hashlib.sha256(msgspec.json.encode((config, spec, seed)))
    for values in model.clip.visual.state_dict().values():
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def _encode(model: Declip, spec: ViewSpec, images: Iterable[RGB], what: str) -> Tensor:
    parts: list[Tensor] = []
    left = iter(images)
    for number in count():
        if not (group := list(islice(left, 8))):
            break
        pixels = np.zeros((len(group), *spec.shape), np.uint8)
        for image, views in zip(group, pixels, strict=True):
            write_views(image, spec, views)
        parts.append(model.coarse(torch.from_numpy(pixels)))
        if number % 100 == 0:
            log.info("features: %s %d", what, 8 * number)
    return torch.cat(parts)


def _scores(listed: list[Photo]) -> Tensor:
    return torch.tensor([photo.score for photo in listed])


def _distorted(
    listed: list[Photo], variants: int, rng: np.random.Generator, looks: list[str], shows: list[str]
) -> Iterator[RGB]:
    for photo in listed:
        rgb = photo.read()
        for distortions in draw(variants, rng):
            image = rgb
            for distortion in distortions:
                image = distort(image, distortion, rng)
            looks.append(texts.perceptual(texts.looks(image, distortions, rng)))
            shows.append(texts.semantic(photo.label))
            yield image


def _series(listed: list[Photo], count: int, rng: np.random.Generator) -> Iterator[RGB]:
    for i in rng.choice(len(listed), count, replace=len(listed) < count):
        rgb = listed[i].read()
        kind = str(rng.choice(TESTED if rng.random() < 0.5 else list(KINDS)))
        drawn = int(rng.integers(2**32))  # the strengths share angle, tint, ...: only the strength rises
        yield rgb
        for strength in STRENGTHS:
            yield distort(rgb, Distortion(kind, strength), np.random.default_rng(drawn))


def _jittered(listed: list[Photo], jitters: int, rng: np.random.Generator) -> Iterator[RGB]:
    for photo in listed:
        rgb = photo.read()
        for _ in range(jitters):
            height, width = (int(side * rng.uniform(0.85, 1)) for side in rgb.shape[:2])
            top, left = rng.integers(rgb.shape[0] - height + 1), rng.integers(rgb.shape[1] - width + 1)
            crop = rgb[top : top + height, left : left + width]
            yield np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)
