"""`python -m export` makes a bundle that the runtime runs, for our models and for users' CLIP weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from declip_rt import Bundle, Scorer
from declip_rt.images.views import write_views
from export.__main__ import export, main
from tests.conftest import picture
from tests.export.conftest import Exported
from tests.training import CONFIG, Recipe
from train import run
from train.clip import normalise
from train.model import load

VIT = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def test_the_command_writes_a_bundle_with_a_measured_card(exported: Exported) -> None:
    manifest = Bundle(exported.bundle).manifest
    assert (manifest.name, manifest.licence) == ("test-model", "CC0-1.0")
    card = manifest.card
    assert any(figure.what.startswith("technical SRCC") and figure.n == 5 for figure in card.figures)
    assert all(-1 <= figure.value <= 1 for figure in card.figures)
    assert [(source.name, source.terms) for source in card.data] == [("noise", "CC0-1.0")]
    assert card.date
    assert "cores" in card.machine
    assert f"{card.figures[0].what}: {card.figures[0].value:.3f}" in exported.said


def test_the_runtime_gives_torchs_scores(exported: Exported, checkpoint: Path) -> None:
    config, model, _ = load(checkpoint)
    rgb = picture(width=200, height=150)
    views = np.zeros((1, *config.views.shape), np.uint8)
    write_views(rgb, config.views, views[0])
    with torch.no_grad(), Scorer(exported.bundle, "cpu") as scorer:
        scores = model(torch.from_numpy(views))[0][0]
        assert scorer.score(rgb).technical == pytest.approx(scores[0].item(), abs=1e-4)
        assert scorer.score(rgb).aesthetic == pytest.approx(scores[1].item(), abs=1e-4)


def test_users_clip_weights_go_all_the_way(recipe: Recipe, tmp_path: Path) -> None:
    """A ViT with its weights in a file, frozen (`steps = 0`), becomes a bundle whose features come from it."""
    (tmp_path / "my-vit.json").write_text(json.dumps(VIT))
    open_clip.add_model_config(tmp_path / "my-vit.json")
    torch.manual_seed(1)
    theirs = open_clip.create_model("my-vit")
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    config = CONFIG.replace(
        'model = "test-tower"\nsteps = 4', f'model = "my-vit"\npretrained = "{tmp_path}/weights.pt"'
    )
    (tmp_path / "my.toml").write_text(config)
    checkpoint = run.train(tmp_path / "my.toml", recipe.data, tmp_path / "run")
    export(checkpoint, tmp_path / "bundle", None)
    assert Bundle(tmp_path / "bundle").manifest.card.figures == (), "without data the card claims nothing"

    settings, model, _ = load(checkpoint)
    views = np.zeros(settings.views.shape, np.uint8)
    rgb = picture(5, 180, 160)
    write_views(rgb, settings.views, views)
    with torch.no_grad(), Scorer(tmp_path / "bundle", "cpu") as scorer:
        own = F.normalize(theirs.eval().encode_image(normalise(torch.from_numpy(views), theirs)), dim=-1)
        coarse = F.normalize(own.mean(0, keepdim=True), dim=-1)
        embedding = scorer.embed(rgb)
        assert np.abs(embedding.perceptual - model.perceptual(coarse)[0].numpy()).max() < 1e-4
        assert np.abs(embedding.semantic - model.semantic(coarse)[0].numpy()).max() < 1e-4


def test_another_file_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.pt").write_text("no")
    monkeypatch.setattr(sys, "argv", ["export", str(tmp_path / "x.pt"), "--out", str(tmp_path / "bundle")])
    assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not a checkpoint" in line
    assert not (tmp_path / "bundle").exists()
