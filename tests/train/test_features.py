"""Features are computed once, in the shapes that the stages ask for, and go on where they were stopped."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from declip_rt import ConfigError
from declip_rt.images.views import write_views
from tests.conftest import encoded, picture
from tests.training import Recipe
from train import features as module
from train.config import Config, SetConfig
from train.features import Encoder, Item, features, jittered, rows
from train.i2t.manifest import Images, Row
from train.model import Declip, load


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> tuple[Config, Declip]:
    config, model, _ = load(checkpoint)
    return config, model


def encoder(loaded: tuple[Config, Declip], recipe: Recipe, out: Path) -> Encoder:
    config, model = loaded
    return Encoder(model, Images(recipe.data), config.views, out, workers=0)


def times(out: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in out.rglob("*.npy")}


def test_shapes_and_the_cache(loaded: tuple[Config, Declip], recipe: Recipe, tmp_path: Path) -> None:
    config, encode = loaded[0], encoder(loaded, recipe, tmp_path)
    made = features(encode, config.features, recipe.data, 7)
    assert made.series.shape == (3, 6, 32)
    mos, beauty = made.scored
    assert mos.features.shape == beauty.features.shape == (18, 2, 32)
    assert (mos.head, beauty.head) == ("technical", "aesthetic")
    assert ((mos.scores >= 0) & (mos.scores <= 1)).all()
    assert made.reference.shape == (2 + 2 + 2, 32)
    assert made.val.features.shape == (2, 1, 32)
    assert torch.allclose(mos.features.norm(dim=-1), torch.ones(18, 2), atol=1e-4)
    written = times(tmp_path)
    read = features(encode, config.features, recipe.data, 7)
    assert times(tmp_path) == written
    assert torch.equal(read.scored[0].features, mos.features)
    other = msgspec.structs.replace(config.features, jitters=1)
    assert features(encode, other, recipe.data, 7).scored[0].features.shape == (18, 1, 32)


def test_series_move_away_from_their_photos(loaded: tuple[Config, Declip], recipe: Recipe, tmp_path: Path) -> None:
    many = msgspec.structs.replace(loaded[0].features, series=20)
    series = features(encoder(loaded, recipe, tmp_path), many, recipe.data, 7).series
    nearness = (series[:, 1:] * series[:, :1]).sum(-1).mean(0)
    assert nearness[-1] < nearness[0] < 1


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
    assert torch.equal(again[[9, 0, 5]], whole[range(10)][[9, 0, 5]])


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


def test_a_published_set_is_scored_on_its_own_scale(
    loaded: tuple[Config, Declip], recipe: Recipe, tmp_path: Path
) -> None:
    names = [f"I{i:02}_01_05.png" for i in range(1, 6)]
    (tmp_path / "kadid" / "images").mkdir(parents=True)
    for i, name in enumerate(names):
        (tmp_path / "kadid" / "images" / name).write_bytes(encoded(picture(i), "PNG"))
    lines = [f"{name},{name[:3]}.png,{i + 1},0.1" for i, name in enumerate(names)]
    (tmp_path / "kadid" / "dmos.csv").write_text("\n".join(["dist_img,ref_img,dmos,var", *lines]))
    sets = [SetConfig("kadid10k", str(tmp_path / "kadid"))]
    *_, found = features(encoder(loaded, recipe, tmp_path), loaded[0].features, recipe.data, 7, sets).scored
    assert (found.name, found.head) == (str(tmp_path / "kadid"), "technical")
    assert found.features.shape == (4, 2, 32)
    assert set(found.scores.tolist()) < {0, 0.25, 0.5, 0.75, 1}
