"""Stage 3 learns scores that features carry, and makes the technical score fall along distortion series."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from declip_rt import ConfigError
from tests.training import Recipe
from train import clip, heads
from train.config import Config
from train.model import ATTRIBUTES, LaionHead, build, new_heads
from train.rated import Rated, Scored


def planted(n: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Features whose first element carries a quality in [0, 1]."""
    quality = torch.rand(n, generator=rng)
    return F.normalize(
        torch.cat([4 * quality[:, None] - 2, 0.3 * torch.randn(n, 31, generator=rng)], 1), dim=-1
    ), quality


def test_planted_quality_is_found(recipe: Recipe) -> None:
    rng = torch.Generator().manual_seed(0)
    mos, mos_quality = planted(200, rng)
    val, val_quality = planted(50, rng)
    levels = torch.linspace(1.5, -1.5, 6)[None, :, None].expand(30, 6, 1)
    series = F.normalize(torch.cat([levels, 0.3 * torch.randn(30, 6, 31, generator=rng)], 2), dim=-1)
    made = Rated(
        series=series,
        scored=(
            Scored("mos", "technical", mos[:, None], mos_quality),
            Scored("beauty", "aesthetic", mos[:, None], mos_quality),
        ),
        val=Scored("mos", "technical", val[:, None], val_quality),
        ladders=series[:, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]],
        reference=val,
        referred="50 photos",
    )
    config = Config.read(recipe.config)
    config = msgspec.structs.replace(config, heads=msgspec.structs.replace(config.heads, penalty={}))
    torch.manual_seed(0)
    model = build(config, clip.load(config.clip, recipe.config.parent))
    calibration = heads.train(model, config, made)
    with torch.no_grad():
        read = model.read(val, model.perceptual(val))
        fall = (
            model.read(series.flatten(0, 1), model.perceptual(series.flatten(0, 1)))[:, 0].unflatten(0, (-1, 6)).mean(0)
        )
    assert spearmanr(read[:, 0], val_quality).statistic > 0.9
    assert spearmanr(read[:, 1], val_quality).statistic > 0.9
    assert (fall.diff() < 0).all()
    assert set(calibration.percentiles) == {"technical", "aesthetic", *ATTRIBUTES}
    for marks in calibration.percentiles.values():
        assert list(marks) == sorted(marks)


def test_sets_of_different_scales_teach_one_head(recipe: Recipe) -> None:
    """A second set, whose raters used half of the range, keeps its own scale."""
    rng = torch.Generator().manual_seed(1)
    (one, quality), (other, worth) = planted(200, rng), planted(200, rng)
    made = Rated(
        series=one[:, None].expand(-1, 6, -1),
        scored=(
            Scored("one", "technical", one[:, None], quality),
            Scored("other", "technical", other[:, None], 0.5 * worth + 0.5),
        ),
        val=Scored("one", "technical", one[:, None], quality),
        ladders=one[:, None].expand(-1, 11, -1),
        reference=one,
        referred="200 photos",
    )
    config = Config.read(recipe.config)
    stage = msgspec.structs.replace(config.heads, penalty={"technical": 1e-5}, rank_weight=0.0, ladder_weight=0.0)
    both = new_heads(32)
    heads.learn(both, msgspec.structs.replace(config, heads=stage), made)
    with torch.no_grad():
        read = both["technical"](other)
    assert (read - worth).abs().mean() < 0.1, "the head reads on the first set's scale"


def test_laions_head_reads_the_coarse_feature(recipe: Recipe, tmp_path: Path) -> None:
    config = Config.read(recipe.config)
    model = build(config, clip.load(config.clip, recipe.config.parent))
    weights = np.linspace(-2, 2, 32, dtype=np.float32)
    np.savez(tmp_path / "laion.npz", w=weights, b=np.array([5.0], np.float32))
    model.quality["aesthetic"] = LaionHead.read(tmp_path / "laion.npz", 32)
    coarse, perceptual = (F.normalize(torch.randn(4, 32), dim=-1) for _ in range(2))
    with torch.no_grad():
        read = model.read(coarse, perceptual)[:, 1]
    assert torch.allclose(read, (coarse @ torch.from_numpy(weights) + 5) / 10)
    with pytest.raises(ConfigError, match=r"`w` \(64,\)"):
        LaionHead.read(tmp_path / "laion.npz", 64)
    with pytest.raises(ConfigError, match=r"none\.npz"):
        LaionHead.read(tmp_path / "none.npz", 32)
