"""Stage 1 loads what open_clip loads, learns, and resumes bit-exactly."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import open_clip
import pytest
import torch

from tests.training import Recipe
from train import clip
from train.config import Config

TRAIN = """
import sys
from pathlib import Path
from train import clip
from train.config import Config
config, data, out, save = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
clip.SAVE = save  # checkpoint often
clip.train(Config.read(config).clip, config.parent, data, out, 7)
"""


def start(recipe: Recipe, out: Path, save: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", TRAIN, recipe.config, recipe.data, out, str(save)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(recipe: Recipe, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    assert start(recipe, whole, 100).wait() == 0
    killed = start(recipe, broken, 1)
    deadline = time.monotonic() + 120
    while not (broken / "clip.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    killed.kill()
    killed.wait()
    reached = torch.load(broken / "clip.pt", weights_only=True)["step"]
    assert 1 <= reached < 4, "it was killed too late to prove anything"
    assert start(recipe, broken, 100).wait() == 0
    one, two = (torch.load(folder / "clip.pt", weights_only=True) for folder in (whole, broken))
    assert one["step"] == two["step"] == 4
    assert all(torch.equal(one["model"][name], two["model"][name]) for name in one["model"])


def test_training_changes_both_towers(recipe: Recipe, tmp_path: Path) -> None:
    config = Config.read(recipe.config)
    torch.manual_seed(7)
    before = clip.load(config.clip, recipe.config.parent).state_dict()
    after = clip.train(config.clip, recipe.config.parent, recipe.data, tmp_path, 7).state_dict()
    assert before.keys() == after.keys()
    for part in ("visual.trunk.conv_stem.weight", "token_embedding.weight"):
        assert not torch.equal(before[part], after[part])


def test_no_steps_keep_the_pretrained_weights(recipe: Recipe, tmp_path: Path) -> None:
    config = Config.read(recipe.config).clip
    model = clip.load(config, recipe.config.parent)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    kept = msgspec.structs.replace(config, steps=0, pretrained=str(tmp_path / "weights.pt"))
    loaded = clip.train(kept, recipe.config.parent, recipe.data, tmp_path, 1).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in model.state_dict().items())


def test_normalise_is_open_clips_preprocessing(recipe: Recipe) -> None:
    open_clip.add_model_config(recipe.config.parent / "test-tower.json")
    model, _, preprocess = open_clip.create_model_and_transforms("test-tower")
    pixels = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    from PIL import Image

    expected = preprocess(Image.fromarray(pixels[0].numpy()))
    assert torch.allclose(clip.normalise(pixels, model)[0], expected, atol=1e-5)


def test_a_diverging_run_stops_with_a_remedy(recipe: Recipe, tmp_path: Path) -> None:
    wild = msgspec.structs.replace(Config.read(recipe.config).clip, lr=float("inf"), warmup=1)
    with pytest.raises(FloatingPointError, match=r"lower clip\.lr"):
        clip.train(wild, recipe.config.parent, recipe.data, tmp_path, 7)
