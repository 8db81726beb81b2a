"""Every committed configuration trains: with a tower of the same kind, small and random, for a step of each stage."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.train.test_readers import koniq10k
from tests.training import TEXT, Recipe
from train import run
from train.config import Config
from train.model import load

CONFIGS = Path(__file__).parents[2] / "train" / "configs"
TOWERS = {  # the same architectures, smaller
    "declip-vit-b-32": {"layers": 1, "width": 64, "head_width": 64, "patch_size": 32},
    "declip-rn50": {"layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
}
LESS = {"steps": 1, "batch": 8, "jitters": 1, "workers": 0}


@pytest.mark.parametrize("name", TOWERS)
def test_it_trains_on_koniq10k(name: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (CONFIGS / f"{name}.toml").read_text()
    whole = Config.read(CONFIGS / f"{name}.toml")
    assert whole.clip.pretrained == "openai"
    assert whole.clip.model.endswith("-quickgelu"), "OpenAI's activation"
    text = re.sub(r"^pretrained = .*$", "", text, flags=re.MULTILINE).replace(whole.clip.model, f"small-{name}")
    text = text.replace("[features]", "[features]\nvariants = 1\nseries = 2")
    for key, value in LESS.items():
        text = re.sub(rf"^{key} = [1-9]\d*", f"{key} = {value}", text, flags=re.MULTILINE)
    tower = {"embed_dim": 32, "vision_cfg": {"image_size": 224} | TOWERS[name], "text_cfg": TEXT, "quick_gelu": True}
    (tmp_path / f"small-{name}.json").write_text(json.dumps(tower))
    (tmp_path / "small.toml").write_text(text)
    koniq10k(tmp_path / "datasets" / "koniq10k")  # where the configuration looks for it
    monkeypatch.chdir(tmp_path)
    config, model, calibration = load(run.train(tmp_path / "small.toml", recipe.data, tmp_path / "run"))
    assert [some.reader for some in config.heads.sets] == ["koniq10k"]
    assert set(model.quality) <= set(calibration.percentiles)
    assert config.data == whole.data, "the card is told what it was trained on"
