"""Stage 1 gives the locked image tower its projection, learns that of texts, and resumes bit-exactly."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch

from declip_rt import ConfigError
from tests.training import Recipe
from train import clip, lit
from train.config import ClipConfig, Config
from train.features import Encoder, Item
from train.i2t.manifest import Images, Row
from train.model import Declip, build

LOOKS, SHOWS = ("a dark photo", "a bright photo"), ("a photo of a fire", "a photo of the sea")
TRAIN = """
import logging, os, signal, sys
from pathlib import Path
from tests.train.test_lit import Recipe, learn

class Killer(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("step 3/"):  # logged once the checkpoint of step 2 is on disk
            os.killpg(0, signal.SIGKILL)

logging.getLogger("train.clip").setLevel(logging.INFO)
logging.getLogger("train.clip").addHandler(Killer())
data, config, out = map(Path, sys.argv[1:])
learn(Recipe(data, config), out, save_every=1, log_every=1)
"""


def rows(count: int = 12) -> list[Row]:
    edits = ({"kind": "dark", "strength": 4.0}, {"kind": "bright", "strength": 4.0})
    made = [
        {
            "image": f"pristine/images/{i // 2:03}.jpg",
            "perceptual": [LOOKS[i % 2]],
            "semantic": [SHOWS[i // 2 % 2]],
            "edits": [edits[i % 2]],
            "attributes": {"brightness": (40.0, 200.0)[i % 2]},
        }
        for i in range(count)
    ]
    return msgspec.convert(made, list[Row])


def learn(recipe: Recipe, out: Path, **options: object) -> Declip:
    config = Config.read(recipe.config)
    config = msgspec.structs.replace(config, clip=msgspec.structs.replace(config.clip, **options))
    torch.manual_seed(0)
    model = build(config, clip.load(config.clip, recipe.config.parent))
    encode = Encoder(model, Images(recipe.data), config.views, out / "features", workers=0)
    lit.lock(model, config, rows(), encode, out)
    lit.train(model, config, rows(), encode, out)
    return model


def state(model: Declip) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.clip.state_dict().items()}


def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "broken"
    out.mkdir()
    line = [sys.executable, "-c", TRAIN, recipe.data, recipe.config, out]
    killed = subprocess.run(line, check=False, start_new_session=True)
    assert killed.returncode == -signal.SIGKILL
    assert torch.load(out / "clip.pt", weights_only=True)["step"] == 2
    resumed, whole = state(learn(recipe, out)), state(learn(recipe, tmp_path / "whole"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_it_gives_both_towers_projections_and_leaves_them_as_they_are(recipe: Recipe, tmp_path: Path) -> None:
    before, after = (state(learn(recipe, tmp_path, steps=steps)) for steps in (0, 4))
    learned = {"visual.head.proj.weight", "visual.head.proj.bias", "text.proj.weight", "logit_scale"}
    assert {name for name, value in before.items() if not torch.equal(value, after[name])} == learned


def test_the_image_projection_keeps_the_principal_components(recipe: Recipe, tmp_path: Path) -> None:
    """What is left of the standardised features is as near to them as 32 directions can come."""
    model = learn(recipe, tmp_path)
    config, proj = Config.read(recipe.config), model.clip.visual.head.proj
    encode = Encoder(model, Images(recipe.data), config.views, tmp_path / "features", workers=0)
    views = encode.views([Item(row) for row in rows()], "images")
    features = views[range(len(views))].flatten(0, 1)
    deviation = features.std(0).clamp_min(lit.STEADY * features.std(0).max())
    standard = (features - features.mean(0)) / deviation
    kept = (features @ proj.weight.T + proj.bias).square().sum()
    best = torch.linalg.svdvals(standard)[: proj.out_features].square().sum()
    assert float(kept) == pytest.approx(float(best), rel=0.01)
    assert torch.equal(proj.weight, proj.weight.half().float())


def test_texts_come_near_their_images(recipe: Recipe, tmp_path: Path) -> None:
    """A text is nearer to the images that it describes than to others."""
    model = learn(recipe, tmp_path, steps=200, lr=0.01, level_weight=0.0)
    config = Config.read(recipe.config)
    encode = Encoder(model, Images(recipe.data), config.views, tmp_path / "features", workers=0)
    found = encode([Item(row) for row in rows()], "images")
    image = found[range(len(found))]
    own = torch.tensor([i % 2 for i in range(12)])
    lean = image @ clip.encode_texts(model.clip, config.clip.model, list(LOOKS)).diff(dim=0)[0]
    assert lean[own == 1].mean() > lean[own == 0].mean() + 0.1


def test_words_for_one_grade_come_to_agree(recipe: Recipe, tmp_path: Path) -> None:
    """Words that no text of the images has, alone and in sentences, tell the grade of what was measured."""
    own = {f"{name}_weight": 0.0 for name in ("perceptual", "semantic", "cross", "level")}
    model = learn(recipe, tmp_path, steps=200, lr=0.01, attribute_weight=1.0, **own)
    config = Config.read(recipe.config)
    encode = Encoder(model, Images(recipe.data), config.views, tmp_path / "features", workers=0)
    found = encode([Item(row) for row in rows()], "images")
    pairs = (("nearly black", "dazzling"), ("an extremely dim photo", "a glaring photo"))
    words = torch.stack([clip.encode_texts(model.clip, config.clip.model, list(pair)).diff(dim=0)[0] for pair in pairs])
    lean = found[range(len(found))] @ words.T  # (12, 2)
    assert (lean[1::2].mean(0) > lean[::2].mean(0) + 0.1).all()


def test_stage_two_alone_finds_what_was_learned(recipe: Recipe, tmp_path: Path) -> None:
    config = Config.read(recipe.config)
    learned = state(learn(recipe, tmp_path))
    torch.manual_seed(0)  # the towers are random
    model = build(config, clip.load(config.clip, recipe.config.parent))
    lit.restore(model, config, tmp_path)
    assert all(torch.allclose(value, learned[name], atol=1e-6) for name, value in state(model).items())
    with pytest.raises(ConfigError, match=r"has not ended in .*nowhere: python -m train\.run"):
        lit.restore(model, config, tmp_path / "nowhere")


def test_a_diverging_run_stops_with_a_remedy(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"became nan at step 2; lower clip\.lr"):
        learn(recipe, tmp_path, lr=float("inf"), warmup=1)


def test_a_model_without_projections_is_named(recipe: Recipe, tmp_path: Path) -> None:
    config = Config.read(recipe.config)
    config = msgspec.structs.replace(config, clip=ClipConfig(model="RN50", steps=1))
    model = Declip(clip.load(config.clip, tmp_path), 1024, 8)
    with pytest.raises(ConfigError, match=r"'RN50' has no projections to learn.*set clip\.steps = 0"):
        lit.restore(model, config, tmp_path)
