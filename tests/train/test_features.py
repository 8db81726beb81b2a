"""Features are computed once, in the shapes that the stages ask for."""

from __future__ import annotations

from pathlib import Path

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
    read = features(model, config.features, config.views, recipe.data, tmp_path, seed=99)
    assert torch.equal(read.distorted, made.distorted), "the second call reads what the first wrote"
    assert read.looks == made.looks


def test_a_series_moves_away_from_its_photo(recipe: Recipe, checkpoint: Path, tmp_path: Path) -> None:
    config, model, _ = load(checkpoint)
    series = features(model, config.features, config.views, recipe.data, tmp_path, 7).series
    nearness = (series[:, 1:] * series[:, :1]).sum(-1)
    assert (nearness[:, -1] < nearness[:, 0]).all()
