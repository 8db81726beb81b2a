"""Stage 2 brings each projector near its own text."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
import torch.nn.functional as F

from declip_rt.bundle import ViewSpec
from tests.training import Recipe
from train import clip, declip
from train.config import Config
from train.features import Features, features
from train.model import build


def prepared(recipe: Recipe, out: Path) -> tuple[Config, Features]:
    config = Config.read(recipe.config)
    config = msgspec.structs.replace(config, declip=msgspec.structs.replace(config.declip, steps=60, batch=28))
    assert isinstance(config.views, ViewSpec)
    model = build(config, clip.load(config.clip, recipe.config.parent))
    return config, features(model, config.features, config.views, recipe.data, out, 7)


def test_each_projector_learns_its_own_text(recipe: Recipe, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config, made = prepared(recipe, tmp_path)
    torch.manual_seed(0)
    model = build(config, clip.load(config.clip, recipe.config.parent))
    towers = {name: value.clone() for name, value in model.clip.state_dict().items()}

    @torch.no_grad()
    def agreement(projector: torch.nn.Module, captions: list[str]) -> float:
        """How much nearer photos are to their own texts than to the mean text."""
        text = clip.encode_texts(model.clip, config.clip.model, captions)
        image = projector(made.distorted)
        return float((image * (text - F.normalize(text.mean(0), dim=0))).sum(1).mean())

    before = agreement(model.perceptual, made.looks), agreement(model.semantic, made.shows)
    declip.train(model, config, made)
    assert agreement(model.perceptual, made.looks) > before[0] + 0.02
    assert agreement(model.semantic, made.shows) > before[1] + 0.02
    assert all(torch.equal(value, towers[name]) for name, value in model.clip.state_dict().items()), "CLIP stays frozen"
