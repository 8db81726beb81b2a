"""tokens.onnx: from features to tokens without torch."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file, save_file

from declip_rt.model.manifest import File, sha256_of
from tests.train.dp_adapter import pipelines
from tests.train.dp_adapter.conftest import Made
from tests.train.dp_adapter.test_adapter import opened
from train.dp_adapter import export
from train.dp_adapter.card import Card


@pytest.fixture
def adapter(made: Made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.adapter, tmp_path / "adapter"))


@pytest.mark.parametrize("count", [1, 3])
def test_its_tokens_are_those_of_diffusers(made: Made, adapter: Path, count: int) -> None:
    assert export.export(adapter) < 1e-5
    features = {name: pipelines.features(seed, count) for seed, name in enumerate(("perceptual", "semantic"))}
    session = onnxruntime.InferenceSession(adapter / "tokens.onnx", providers=["CPUExecutionProvider"])
    found = session.run(
        ["perceptual_tokens", "semantic_tokens"], {name: each.numpy() for name, each in features.items()}
    )
    with torch.no_grad():
        wanted = opened(made.base, adapter).unet.encoder_hid_proj([each[:, None] for each in features.values()])
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == (count, 4, pipelines.WIDTHS[made.kind])
        assert np.abs(ours - theirs[:, 0].numpy()).max() < 1e-5


def test_the_card_names_it(
    sd1: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = Path(shutil.copytree(sd1.adapter, tmp_path / "adapter"))
    assert Card.read(adapter).tokens is None
    monkeypatch.setattr("sys.argv", ["export", str(adapter)])
    assert export.main() == 0
    assert "tokens.onnx: largest difference from the projections" in capsys.readouterr().out
    assert Card.read(adapter).tokens == File("tokens.onnx", sha256_of(adapter / "tokens.onnx"))


def test_tokens_that_are_no_numbers_are_not_written(
    sd1: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = Path(shutil.copytree(sd1.adapter, tmp_path / "adapter"))
    weights = load_file(adapter / "semantic.safetensors")
    weights["image_proj.proj.bias"][0] = float("nan")
    save_file(weights, adapter / "semantic.safetensors")
    card = Card.read(sd1.adapter)
    replace(card, semantic=replace(card.semantic, weights=File.of(adapter / "semantic.safetensors"))).write(adapter)
    monkeypatch.setattr("sys.argv", ["export", str(adapter)])
    assert export.main() == 2
    assert "differ by nan" in capsys.readouterr().err
    assert not (adapter / "tokens.onnx").exists()
    assert Card.read(adapter).tokens is None
