"""What open_clip loads is loaded, with its errors in one line; texts and pixels are what it makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch

from declip_rt import ConfigError
from declip_rt.model.manifest import sha256_of
from tests.training import ARCHITECTURE, TEXT, Recipe, sentence_text, write_sentence_encoder
from train import clip
from train.config import ClipConfig, Config
from train.pretrained import Package


def test_normalise_is_open_clips_preprocessing(recipe: Recipe) -> None:
    open_clip.add_model_config(recipe.config.parent / "test-tower.json")
    model, _, preprocess = open_clip.create_model_and_transforms("test-tower")
    pixels = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    from PIL import Image

    expected = preprocess(Image.fromarray(pixels[0].numpy()))
    assert torch.allclose(clip.normalise(pixels, model)[0], expected, atol=1e-5)


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
        (ARCHITECTURE["vision_cfg"], ["trunk.blocks.5", "trunk.conv_head", "head.proj"], ["trunk.blocks.4"]),
    ],
    ids=["vit", "resnet", "timm vit", "timm mobilenet"],
)
def test_the_last_blocks_and_what_follows(tmp_path: Path, vision: dict, free: list[str], frozen: list[str]) -> None:
    name = f"tower-{len(str(vision))}"
    (tmp_path / f"{name}.json").write_text(json.dumps(ARCHITECTURE | {"vision_cfg": vision, "text_cfg": TEXT}))
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
    just, over = " ".join(["photo"] * 62), " ".join(["photo"] * 63)  # and two marks make 64 and 65 tokens
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


def test_texts_in_company_are_what_they_are_alone(recipe: Recipe) -> None:
    """A batch is cut to its longest text, and padding changes nothing."""
    model = clip.load(Config.read(recipe.config).clip, recipe.config.parent).eval()
    texts = ["a dark photo", "bright", "a noisy photo of a good quality"]
    tokens = open_clip.get_tokenizer("test-tower")(texts)
    with torch.no_grad():
        expected = model.encode_text(tokens, normalize=True)
        assert torch.allclose(clip.encode_texts(model, "test-tower", texts), expected, atol=1e-5)


def test_an_architecture_names_packages_not_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_text").mkdir()
    write_sentence_encoder(tmp_path / "some_text")
    monkeypatch.syspath_prepend(tmp_path)
    weights = tmp_path / "some_text/model.safetensors"
    package = Package("some-text==1.0", "some_text", ((weights.name, sha256_of(weights)),), "MIT")
    monkeypatch.setitem(clip.PACKAGES, "some-encoder", package)
    text = sentence_text(tmp_path) | {"hf_model_name": "some-encoder", "hf_tokenizer_name": "some-encoder"}
    (tmp_path / "joined.json").write_text(json.dumps(ARCHITECTURE | {"text_cfg": text}))
    model = clip.load(ClipConfig(model="joined"), tmp_path)
    assert clip.encode_texts(model, "joined", ["a photo"]).shape == (1, 32)
    assert clip.architecture("joined") == ARCHITECTURE | {"text_cfg": text}
    weights.write_bytes(b"others")
    with pytest.raises(ConfigError, match=r"pip install .* some-text==1\.0"):
        clip.load(ClipConfig(model="joined"), tmp_path)
