"""Stage 3 learns scores that features carry, and makes the technical score fall along distortion series."""

from __future__ import annotations

import msgspec
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from tests.training import Recipe
from train import clip, heads
from train.config import Config
from train.features import Features
from train.model import ATTRIBUTES, build


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
    made = Features(
        series=series,
        mos=mos[:, None],
        mos_scores=100 * mos_quality,
        beauty=mos[:, None],
        beauty_scores=1 + 6 * mos_quality,
        reference=val,
        val_mos=val,
        val_mos_scores=100 * val_quality,
    )
    config = Config.read(recipe.config)
    config = msgspec.structs.replace(config, heads=msgspec.structs.replace(config.heads, steps=300, batch=64))
    torch.manual_seed(0)
    model = build(config, clip.load(config.clip, recipe.config.parent))
    calibration = heads.train(model, config, made)
    with torch.no_grad():
        read = model.read(model.perceptual(val))
        fall = model.quality["technical"](model.perceptual(series)).mean(0)
    assert spearmanr(read[:, 0], val_quality).statistic > 0.9
    assert spearmanr(read[:, 1], val_quality).statistic > 0.9
    assert (fall.diff() < 0).all()
    assert set(calibration.percentiles) == {"technical", "aesthetic", *ATTRIBUTES}
    for marks in calibration.percentiles.values():
        assert list(marks) == sorted(marks)
