"""The image tower's last stages learn quality; all before them stays."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from declip_rt import ConfigError
from tests.training import ARCHITECTURE, Recipe
from train import clip
from train.config import Config, FeaturesConfig, TuneConfig
from train.model import Declip, build
from train.tune import restore, tune

TUNE = TuneConfig(
    features=FeaturesConfig(jitters=2, series=3, ladders=2),
    steps=12,
    lr=1e-3,
    warmup=2,
    rated=12,
    series=1,
    ladders=1,
    keep_weight=0.1,
    workers=0,
    save_every=6,
)


@pytest.fixture(scope="module")
def config(recipe: Recipe) -> Config:
    """One whose tower has stages, with the weights that it ships with."""
    text = json.loads((recipe.config.parent / "test-tower.json").read_text())["text_cfg"]
    tower = ARCHITECTURE["vision_cfg"] | {"timm_model_name": "efficientnet_lite0_stages", "timm_pool": ""}
    (recipe.config.parent / "test-stages.json").write_text(
        json.dumps(ARCHITECTURE | {"vision_cfg": tower, "text_cfg": text})
    )
    config = Config.read(recipe.config)
    return replace(config, clip=replace(config.clip, model="test-stages"), tune=TUNE)


def new(config: Config, recipe: Recipe) -> Declip:
    return build(config, clip.load(config.clip, recipe.config.parent))


def weights(model: Declip) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in clip.locked_image(model.clip).state_dict().items()}


@pytest.fixture(scope="module")
def tuned(config: Config, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Declip, Path]:
    model, out = new(config, recipe), tmp_path_factory.mktemp("tuned")
    tune(model, config, recipe.data, out)
    return model, out


def test_the_last_stages_move_alone_and_stay_in_half_precision(
    config: Config, recipe: Recipe, tuned: tuple[Declip, Path]
) -> None:
    before, after = weights(new(config, recipe)), weights(tuned[0])
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {name.partition(".")[0] for name in moved} == {"blocks", "last"}
    assert {name.split(".")[1] for name in moved if name.startswith("blocks")} == {"5", "6"}
    assert all(torch.equal(value, value.half().float()) for value in after.values())
    assert not any(parameter.requires_grad for parameter in tuned[0].clip.visual.trunk.parameters())


def test_it_learns_scores_and_ranks(
    config: Config, recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = replace(config, tune=replace(TUNE, log_every=1))
    with caplog.at_level(logging.INFO, "train.tune"):
        tune(new(told, recipe), told, recipe.data, tmp_path)
    for loss in ("rating", "rank"):
        values = [float(value) for value in re.findall(rf"{loss} ([\d.]+)", caplog.text)]
        assert len(values) == TUNE.steps
        assert sum(values[-3:]) < 0.5 * sum(values[:3])


def test_it_goes_on_where_it_stopped(config: Config, recipe: Recipe, tuned: tuple[Declip, Path]) -> None:
    again = new(config, recipe)
    tune(again, config, recipe.data, tuned[1])  # all steps are in its checkpoint
    assert all(torch.equal(value, weights(tuned[0])[name]) for name, value in weights(again).items())


def test_it_is_restored_where_it_ended(config: Config, recipe: Recipe, tuned: tuple[Declip, Path]) -> None:
    again = new(config, recipe)
    restore(again, config, tuned[1])
    assert all(torch.equal(value, weights(tuned[0])[name]) for name, value in weights(again).items())
    with pytest.raises(ConfigError, match=r"tuning has not ended in .*: python -m train.run does it"):
        restore(again, config, recipe.data)


def test_without_steps_the_tower_stays(config: Config, recipe: Recipe, tmp_path: Path) -> None:
    model = new(config, recipe)
    before = weights(model)
    tune(model, replace(config, tune=TuneConfig()), recipe.data, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
    assert not list(tmp_path.iterdir())


def test_other_towers_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    config = replace(Config.read(recipe.config), tune=TUNE)
    with pytest.raises(ConfigError, match=r"no tower but those of EfficientNet's stages can be tuned"):
        tune(new(config, recipe), config, recipe.data, tmp_path)
