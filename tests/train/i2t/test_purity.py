"""Texts that tell of each other are found out."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import open_clip
import pytest
import torch

from tests.training import Recipe
from train.i2t import purity
from train.i2t.manifest import Row, write
from train.i2t.synthetic import build

RNG = np.random.default_rng(0)
PURE = [Row(f"{i}.png", ("a very blurry photo",), ("a photo of a cat",)) for i in range(200)]


def unit(features: np.ndarray) -> np.ndarray:
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


def test_unrelated_texts_are_pure() -> None:
    found = purity.measure(unit(RNG.standard_normal((200, 16))), unit(RNG.standard_normal((200, 16))), PURE)
    assert found.retrieval == pytest.approx(found.chance, abs=0.06)
    assert found.semantic_from_perceptual < 0.1
    assert found.perceptual_from_semantic < 0.1
    assert found.content_words == found.look_words == 0


def test_texts_that_tell_each_other_are_not() -> None:
    perceptual = unit(RNG.standard_normal((200, 16)))
    semantic = unit(perceptual + 0.2 * RNG.standard_normal((200, 16)))
    rows = [Row("x.png", ("a blurry cat",), ("a photo of a cat in bright light",)) for _ in range(200)]
    found = purity.measure(perceptual, semantic, rows)
    assert found.retrieval > 0.9
    assert found.semantic_from_perceptual > 0.5
    assert found.perceptual_from_semantic > 0.5
    assert found.content_words == found.look_words == 1


def test_equal_texts_tell_nothing() -> None:
    same = unit(np.ones((200, 16)) + 0)
    assert purity.measure(same, unit(RNG.standard_normal((200, 16))), PURE).retrieval < 0.2


def test_the_command(
    recipe: Recipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [row for row in build(recipe.data, 3, seed=3) if row.semantic]
    rows[0] = msgspec.structs.replace(rows[0], perceptual=("<b>bad</b> photo",))
    write(recipe.data / "purity.jsonl", rows)
    page = tmp_path / "purity.html"
    monkeypatch.chdir(recipe.config.parent)
    open_clip.add_model_config(recipe.config.parent / "test-tower.json")
    torch.save(open_clip.create_model("test-tower").state_dict(), tmp_path / "tower.pt")
    weights = ["--pretrained", str(tmp_path / "tower.pt")]
    options = ["--model", "test-tower", *weights, "--html", str(page), "--samples", "30"]
    monkeypatch.setattr("sys.argv", ["purity", str(recipe.data / "purity.jsonl"), *options])
    assert purity.main() == 0
    out = capsys.readouterr().out
    assert "semantic from perceptual" in out
    text = page.read_text()
    assert text.count("<figure>") == min(30, len(rows))
    assert "<b>bad" not in text
    assert "data:image/jpeg;base64," in text
    write(recipe.data / "purity.jsonl", rows[:3])
    assert purity.main() == 2
