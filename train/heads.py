"""Stage 3: the quality heads on the perceptual feature, and the calibration of all heads."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from declip_rt.bundle import Calibration
from train import losses
from train.config import Config
from train.features import Features
from train.model import ATTRIBUTES, QUALITIES, Declip

log = logging.getLogger("train.heads")
MOS_RANGE, BEAUTY_RANGE = (0.0, 100.0), (1.0, 7.0)


def train(model: Declip, config: Config, features: Features) -> Calibration:
    """Trains the quality heads, fits the attribute heads, and returns the percentiles of the reference photos."""
    c = config.heads
    torch.manual_seed(config.seed + 3)
    model.perceptual.eval()
    with torch.no_grad():
        mos, beauty, series = (model.perceptual(x) for x in (features.mos, features.beauty, features.series))
        reference, val = model.perceptual(features.reference), model.perceptual(features.val_mos)
    mos_target, beauty_target = _unit(features.mos_scores, MOS_RANGE), _unit(features.beauty_scores, BEAUTY_RANGE)
    technical, aesthetic = model.quality["technical"], model.quality["aesthetic"]
    optimizer = torch.optim.AdamW(model.quality.parameters(), lr=c.lr, weight_decay=c.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, c.lr, total_steps=c.steps)
    model.quality.train()
    for step in range(c.steps):
        i, j = torch.randint(len(mos), (c.batch,)), torch.randint(mos.shape[1], (c.batch,))
        k, m = torch.randint(len(beauty), (c.batch,)), torch.randint(beauty.shape[1], (c.batch,))
        falling = technical(series[torch.randint(len(series), (c.batch // 2,))])
        fit = F.mse_loss(technical(mos[i, j]), mos_target[i]) + F.mse_loss(aesthetic(beauty[k, m]), beauty_target[k])
        rank = losses.ranking(falling, c.margin)
        loss = fit + c.rank_weight * rank
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 300 == 0:
            log.info("step %d/%d fit %.4f rank %.4f", step + 1, c.steps, fit.item(), rank.item())
    model.quality.eval()
    model.attributes.fit(model.clip, config.clip.model, reference)
    with torch.no_grad():
        srcc = spearmanr(technical(val), features.val_mos_scores).statistic
        log.info("SRCC on the MOS val split: %.3f", srcc)
        return _calibrate(model.read(reference))


def _unit(scores: torch.Tensor, limits: tuple[float, float]) -> torch.Tensor:
    return (scores - limits[0]) / (limits[1] - limits[0])


def _calibrate(scores: torch.Tensor) -> Calibration:
    quantiles = scores.double().quantile(torch.linspace(0, 1, 101, dtype=torch.double), dim=0)  # (101, K)
    names = (*QUALITIES, *ATTRIBUTES)
    return Calibration(
        reference=f"{len(scores)} undistorted photos of the val splits (see train/README.md)",
        percentiles={name: tuple(quantiles[:, i].tolist()) for i, name in enumerate(names)},
    )
