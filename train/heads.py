"""Stage 3: the quality heads on the perceptual feature, and the calibration of all heads."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import nn

from declip_rt.model.manifest import Calibration
from train import losses
from train.config import Config
from train.model import ATTRIBUTES, QUALITIES, Declip, LaionHead, dimension
from train.rated import Rated

log = logging.getLogger("train.heads")


def train(model: Declip, config: Config, features: Rated) -> Calibration:
    """Trains the quality heads, fits the attribute heads, and returns the percentiles of the reference photos."""
    model.perceptual.eval()
    learn(model.quality, config, _projected(features, model.perceptual))
    if config.heads.laion is not None:
        model.quality["aesthetic"] = LaionHead.read(Path(config.heads.laion), dimension(config.clip.model))
    with torch.no_grad():
        reference = model.perceptual(features.reference)
        model.attributes.fit(model.clip, config.clip.model, reference)
        if features.val is not None:
            val = model.quality["technical"](model.perceptual(features.val.features[:, 0]))
            log.info("SRCC on the MOS val split: %.3f", spearmanr(val, features.val.scores).statistic)
        return _calibrate(model.read(features.reference, reference), features.referred)


def learn(quality: nn.ModuleDict, config: Config, features: Rated) -> None:
    """Trains heads in place, by name, on features as they are.

    Sets with the same head may have scales of their own: all but the first learn a gain and an offset with the head
    (after Li et al., 2021, arXiv 2011.04263).
    """
    c = config.heads
    torch.manual_seed(config.seed + 3)
    scales = nn.ParameterDict()
    for some in features.scored:
        first = next(other for other in features.scored if other.head == some.head)
        scales[some.name] = nn.Parameter(torch.tensor([1.0, 0.0]), requires_grad=some is not first)
    parameters = [*quality.parameters(), *(scale for scale in scales.values() if scale.requires_grad)]
    optimizer = torch.optim.AdamW(parameters, lr=c.lr, weight_decay=c.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, c.lr, total_steps=c.steps)
    quality.train()
    for step in range(c.steps):
        fit = torch.zeros(())
        for some in features.scored:
            photos, jitters = some.features.shape[:2]
            i, j = torch.randint(photos, (c.batch,)), torch.randint(jitters, (c.batch,))
            gain, offset = scales[some.name]
            read = gain * quality[some.head](some.features[i, j]) + offset
            fit = fit + F.mse_loss(read, some.scores[i]) + c.pair_weight * losses.pairwise(read, some.scores[i])
        falling = quality["technical"](features.series[torch.randint(len(features.series), (c.batch // 2,))])
        rank = losses.ranking(falling, c.margin)
        compressed = quality["technical"](features.ladders[torch.randint(len(features.ladders), (c.batch // 2,))])
        rank = rank + c.ladder_weight * losses.ranking(compressed, c.step)
        optimizer.zero_grad(set_to_none=True)
        (fit + c.rank_weight * rank).backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 300 == 0:
            log.info("step %d/%d fit %.4f rank %.4f", step + 1, c.steps, fit.item(), rank.item())
    quality.eval()


@torch.no_grad()
def _projected(features: Rated, projector: nn.Module) -> Rated:
    scored = tuple(replace(some, features=projector(some.features)) for some in features.scored)
    series, ladders = projector(features.series), projector(features.ladders)
    return replace(features, series=series, ladders=ladders, scored=scored)


def _calibrate(scores: torch.Tensor, reference: str) -> Calibration:
    names = (*QUALITIES, *ATTRIBUTES)
    return Calibration(
        reference=reference,
        percentiles={name: Calibration.marks(scores[:, i].cpu()) for i, name in enumerate(names)},
    )
