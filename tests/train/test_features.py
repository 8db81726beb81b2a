"""Features are computed once, in the shapes that the stages ask for."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch

from tests.training import Recipe
from train.features import features
from train.model import load


def test_shapes_texts_and_the_cache(recipe: Recipe, checkpoint: Path, tmp_path: Path) -> None:
    config, model, _ = load(checkpoint)
    made = features(model, config.features, config.views, recipe.data, tmp_path, 7)
    assert made.distorted.shape == (14 * 2, 32)
    assert len(made.looks) == len(made.shows) == 28
    assert made.series.shape == (3, 6, 32)
    assert made.mos.shape == (18, 2, 32)
    assert made.mos_scores.shape == (18,)
    assert made.beauty.shape == (18, 2, 32)
    assert made.reference.shape == (2 + 2 + 2, 32)
    assert made.val_mos.shape == (2, 32)
    written = (tmp_path / "features.pt").stat().st_mtime_ns
    read = features(model, config.features, config.views, recipe.data, tmp_path, 7)
    assert (tmp_path / "features.pt").stat().st_mtime_ns == written
    assert torch.equal(read.distorted, made.distorted)
    assert read.looks == made.looks
    other = msgspec.structs.replace(config.features, jitters=1)
    assert features(model, other, config.views, recipe.data, tmp_path, 7).mos.shape == (18, 1, 32)


def test_series_move_away_from_their_photos(recipe: Recipe, checkpoint: Path, tmp_path: Path) -> None:
    config, model, _ = load(checkpoint)
    many = msgspec.structs.replace(config.features, series=20)
    series = features(model, many, config.views, recipe.data, tmp_path, 7).series
    nearness = (series[:, 1:] * series[:, :1]).sum(-1).mean(0)
    assert nearness[-1] < nearness[0] < 1
