"""Stage 1 loads what open_clip loads, learns, and resumes bit-exactly."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import open_clip
import pytest
import torch

from declip_rt import ConfigError
from tests.training import ARCHITECTURE, Recipe
from train import clip
from train.config import ClipConfig, Config

TRAIN = """
import logging, os, signal, sys
from pathlib import Path
import msgspec
from train import clip
from train.config import Config

class Killer(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("step 2: "):  # logged once that step's checkpoint is on disk
            os.killpg(0, signal.SIGKILL)  # the loader's worker too, which would stay for good

logging.getLogger("train.clip").setLevel(logging.INFO)
logging.getLogger("train.clip").addHandler(Killer())
config, data, out = map(Path, sys.argv[1:])
often = msgspec.structs.replace(Config.read(config).clip, save_every=1)
clip.train(often, config.parent, data, out, 7)
"""


def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(recipe: Recipe, tmp_path: Path) -> None:
    config, out = Config.read(recipe.config).clip, tmp_path / "broken"
    out.mkdir()
    command = [sys.executable, "-c", TRAIN, recipe.config, recipe.data, out]
    killed = subprocess.run(command, check=False, start_new_session=True)
    assert killed.returncode == -signal.SIGKILL
    assert torch.load(out / "clip.pt", weights_only=True)["step"] == 2
    resumed = clip.train(config, recipe.config.parent, recipe.data, out, 7).state_dict()
    whole = clip.train(config, recipe.config.parent, recipe.data, tmp_path, 7).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


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
    with pytest.raises(ConfigError, match=r"pairs became nan at step 2; lower clip\.lr"):
        clip.train(wild, recipe.config.parent, recipe.data, tmp_path, 7)


def test_a_vit_can_be_trained_at_its_own_size(recipe: Recipe, tmp_path: Path) -> None:
    vision = {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16}
    (tmp_path / "small-vit.json").write_text(json.dumps(ARCHITECTURE | {"vision_cfg": vision}))
    config = msgspec.structs.replace(Config.read(recipe.config).clip, model="small-vit", crop=64, steps=1)
    clip.train(config, tmp_path, recipe.data, tmp_path, 7)
    assert torch.load(tmp_path / "clip.pt", weights_only=True)["step"] == 1


RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}
VIT = {"image_size": 64, "layers": 3, "width": 64, "patch_size": 16}
TIMM_VIT = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "timm_proj": "linear", "image_size": 224}


@pytest.mark.parametrize(
    ("vision", "free", "frozen"),
    [
        (VIT, ["transformer.resblocks.2", "transformer.resblocks.1", "ln_post", "proj"], ["transformer.resblocks.0"]),
        (RESNET, ["layer4", "layer3", "attnpool"], ["layer2", "conv1"]),
        (
            TIMM_VIT,
            ["trunk.blocks.11", "trunk.blocks.10", "trunk.norm", "head.proj"],
            ["trunk.blocks.9", "trunk.patch"],
        ),
        (ARCHITECTURE["vision_cfg"], ["trunk.blocks.4", "trunk.conv_head", "trunk.classifier"], ["trunk.blocks.2"]),
    ],
    ids=["vit", "resnet", "timm vit", "timm mobilenet"],
)
def test_the_last_blocks_and_what_follows(tmp_path: Path, vision: dict, free: list[str], frozen: list[str]) -> None:
    name = f"tower-{len(str(vision))}"
    (tmp_path / f"{name}.json").write_text(json.dumps(ARCHITECTURE | {"vision_cfg": vision}))
    visual = clip.load(ClipConfig(model=name), tmp_path).visual
    chosen = {id(parameter) for parameter in clip.last_blocks(visual, 2)}
    for parts, expected in ((free, True), (frozen, False)):
        for part in parts:
            found = [id(p) in chosen for n, p in visual.named_parameters() if n.startswith(part)]
            assert found, part
            assert set(found) == {expected}, part
    with pytest.raises(ConfigError, match=r"declip\.unfreeze is 99, but \w+ has \d+ blocks"):
        clip.last_blocks(visual, 99)


def test_a_tower_of_unknown_blocks_is_named() -> None:
    with pytest.raises(ConfigError, match="Linear"):
        clip.last_blocks(torch.nn.Linear(2, 2), 1)


def test_texts_that_open_clip_would_cut_off_are_found(recipe: Recipe) -> None:
    model = clip.load(Config.read(recipe.config).clip, recipe.config.parent)
    just, over = " ".join(["photo"] * 30), " ".join(["photo"] * 31)  # and two marks make 32 and 33 tokens
    assert clip.fits("test-tower", ["a photo", just, over, ""]).tolist() == [True, True, False, True]
    with pytest.raises(ConfigError, match="cannot read all of the text 'photo photo"):
        clip.encode_texts(model, "test-tower", ["a photo", over])


@pytest.mark.parametrize(
    ("model", "pretrained"), [("no-such-model", None), ("test-tower", "no-such-tag"), ("test-tower", __file__)]
)
def test_what_open_clip_cannot_load_is_one_error(recipe: Recipe, model: str, pretrained: str | None) -> None:
    with pytest.raises(ConfigError, match=model):
        clip.load(ClipConfig(model=model, pretrained=pretrained), recipe.config.parent)


def test_weights_of_another_activation_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("open_clip.factory.download_pretrained", lambda *_, **__: "weights.pt")
    with pytest.raises(ConfigError, match=r"'openai' have another activation than clip\.model 'ViT-B-32'"):
        clip.load(ClipConfig(model="ViT-B-32", pretrained="openai"), tmp_path)
