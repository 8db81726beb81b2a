"""Features are computed once, and go on where they were stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from declip_rt import ConfigError
from declip_rt.images.views import write_views
from tests.training import Recipe, encoder
from train import features as module
from train.config import Config
from train.features import Item, jittered
from train.i2t.manifest import Images, Row
from train.model import Declip, load
from train.rated import rows


def test_a_stopped_encoding_goes_on_with_the_shards_that_lack(
    loaded: tuple[Config, Declip], recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD", 4)
    items = jittered(rows(recipe.data, "mos", "train")[:5], 2, seed=1)
    encode = encoder(loaded, recipe, tmp_path)
    whole = encode(items, "all")
    first, _, last = sorted(tmp_path.rglob("*.npy"))
    kept = first.stat().st_mtime_ns
    last.unlink()
    again = encode(items, "all")
    assert first.stat().st_mtime_ns == kept
    assert len(again) == 10
    assert torch.equal(again[range(10)], whole[range(10)])
    assert torch.allclose(again[[9, 0, 5]], whole[range(10)][[9, 0, 5]], atol=1e-6)


def test_a_feature_is_that_of_its_row(loaded: tuple[Config, Declip], recipe: Recipe, tmp_path: Path) -> None:
    config, model = loaded
    row = rows(recipe.data, "beauty", "val")[1]
    views = np.zeros((1, *config.views.shape), np.uint8)
    write_views(Images(recipe.data).open(row), config.views, views[0])
    encode = encoder(loaded, recipe, tmp_path)
    with torch.no_grad():
        expected = model.coarse(torch.from_numpy(views))
    assert torch.allclose(encode([Item(row), Item(row, jitter=5)], "one")[[0]], expected, atol=1e-5)
    assert not torch.allclose(encode([Item(row), Item(row, jitter=5)], "one")[[1]], expected, atol=1e-3)


def test_other_weights_have_other_features(recipe: Recipe, checkpoint: Path, tmp_path: Path) -> None:
    config, model, _ = load(checkpoint)
    items = [Item(row) for row in rows(recipe.data, "mos", "val")]
    encode = encoder((config, model), recipe, tmp_path)(items, "val")[[0]]
    with torch.no_grad():
        model.clip.visual.trunk.conv_stem.weight.mul_(-1)
    assert not torch.equal(encoder((config, model), recipe, tmp_path)(items, "val")[[0]], encode)


def test_photos_that_cannot_be_read_are_left_out(
    loaded: tuple[Config, Declip], recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = rows(recipe.data, "mos", "val")[0]
    stored = encoder(loaded, recipe, tmp_path)([Item(good), Item(Row("lost.jpg", ()))], "two")
    assert list(stored.failures) == [1]
    assert stored[[1]].isnan().all()
    assert "1 of 2 two images cannot be read" in caplog.text
    assert "lost.jpg" in caplog.text
    with pytest.raises(ConfigError, match="no empty images"):
        encoder(loaded, recipe, tmp_path)([], "empty")
