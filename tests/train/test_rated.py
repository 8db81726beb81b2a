"""What the heads learn from has the shapes that they ask for, and is computed once."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from declip_rt import ConfigError
from tests.conftest import encoded, picture
from tests.training import Recipe, encoder
from train.config import Config, SetConfig
from train.model import Declip
from train.rated import rated


def times(out: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in out.rglob("*.npy")}


def test_shapes_and_the_cache(loaded: tuple[Config, Declip], recipe: Recipe, tmp_path: Path) -> None:
    config, encode = loaded[0], encoder(loaded, recipe, tmp_path)
    made = rated(encode, config.features, recipe.data, 7)
    assert made.series.shape == (3, 6, 32)
    mos, beauty = made.scored
    assert mos.features.shape == beauty.features.shape == (18, 2, 32)
    assert (mos.head, beauty.head) == ("technical", "aesthetic")
    assert ((mos.scores >= 0) & (mos.scores <= 1)).all()
    assert made.reference.shape == (2 + 2 + 2, 32)
    assert made.val is not None
    assert made.val.features.shape == (2, 1, 32)
    names = "2 of ImageNet, NIPS 2017, BSDS500 and Kodak, 2 of LIVE In the Wild, 2 of OASIS"
    assert made.referred == f"photos of the val splits, undistorted: {names}"
    assert torch.allclose(mos.features.norm(dim=-1), torch.ones(18, 2), atol=1e-4)
    written = times(tmp_path)
    read = rated(encode, config.features, recipe.data, 7)
    assert times(tmp_path) == written
    assert torch.equal(read.scored[0].features, mos.features)
    other = msgspec.structs.replace(config.features, jitters=1)
    assert rated(encode, other, recipe.data, 7).scored[0].features.shape == (18, 1, 32)


def test_series_move_away_from_their_photos(loaded: tuple[Config, Declip], recipe: Recipe, tmp_path: Path) -> None:
    many = msgspec.structs.replace(loaded[0].features, series=20)
    series = rated(encoder(loaded, recipe, tmp_path), many, recipe.data, 7).series
    nearness = (series[:, 1:] * series[:, :1]).sum(-1).mean(0)
    assert nearness[-1] < nearness[0] < 1


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
    *_, found = rated(encoder(loaded, recipe, tmp_path), loaded[0].features, recipe.data, 7, sets).scored
    assert (found.name, found.head) == (str(tmp_path / "kadid"), "technical")
    assert found.features.shape == (4, 2, 32)
    assert set(found.scores.tolist()) < {0, 0.25, 0.5, 0.75, 1}


def test_published_sets_alone_suffice(loaded: tuple[Config, Declip], recipe: Recipe, tmp_path: Path) -> None:
    """Without a data folder, series, ladders and percentiles are of the sets' own photos."""
    (tmp_path / "kadid" / "images").mkdir(parents=True)
    names = [f"I{i:02}_01_05.png" for i in range(1, 6)]
    for i, name in enumerate(names):
        (tmp_path / "kadid" / "images" / name).write_bytes(encoded(picture(i), "PNG"))
    lines = [f"{name},{name[:3]}.png,{i + 1},0.1" for i, name in enumerate(names)]
    (tmp_path / "kadid" / "dmos.csv").write_text("\n".join(["dist_img,ref_img,dmos,var", *lines]))
    sets = [SetConfig("kadid10k", str(tmp_path / "kadid"))]
    made = rated(encoder(loaded, recipe, tmp_path), loaded[0].features, None, 7, sets)
    assert made.series.shape == (3, 6, 32)
    assert made.ladders.shape[1:] == (11, 32)
    assert (made.val, made.referred) == (None, "4 photos of kadid10k")
    with pytest.raises(ConfigError, match=r"no photos with scores: give --data, or \[\[heads\.sets\]\]"):
        rated(encoder(loaded, recipe, tmp_path), loaded[0].features, None, 7)
