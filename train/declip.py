"""Stage 2: the projectors, each aligned with its own text of the same image (arXiv 2503.02206)."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from train import clip, losses, texts
from train.config import Config
from train.features import Features
from train.model import Declip

log = logging.getLogger("train.declip")


def train(model: Declip, config: Config, features: Features) -> None:
    """Trains `model.perceptual` and `model.semantic` in place."""
    c = config.declip
    torch.manual_seed(config.seed + 2)
    parameters = [*model.perceptual.parameters(), *model.semantic.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=c.lr, weight_decay=c.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, c.lr, total_steps=c.steps)
    looks, shows = _Texts(model, config, features.looks), _Texts(model, config, features.shows)
    quality = _Levels(model, config, texts.QUALITY, features.mos, features.mos_scores)
    beauty = _Levels(model, config, texts.BEAUTY, features.beauty, features.beauty_scores)
    scale = model.clip.logit_scale.exp().detach()
    model.perceptual.train()
    for step in range(c.steps):
        picked = torch.randint(len(features.distorted), (c.batch,))
        coarse = features.distorted[picked]
        perceptual = looks.loss(model.perceptual(coarse), picked, scale)
        semantic = shows.loss(model.semantic(coarse), picked, scale)
        level = quality.loss(model.perceptual, c.batch // 4, scale) + beauty.loss(model.perceptual, c.batch // 4, scale)
        loss = perceptual + semantic + c.level_weight * level
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            parts = perceptual.item(), semantic.item(), level.item()
            log.info("step %d/%d perceptual %.3f semantic %.3f levels %.3f", step + 1, c.steps, *parts)


class _Texts:
    """The texts of the distorted photos: a photo's positives are all texts that read like its own."""

    @torch.no_grad()
    def __init__(self, model: Declip, config: Config, captions: list[str]) -> None:
        unique, which = np.unique(captions, return_inverse=True)
        groups = [unique[i : i + 256].tolist() for i in range(0, len(unique), 256)]
        self._features = torch.cat(
            [clip.encode_texts(model.clip, config.clip.model, group) for group in groups]
        )  # (U, D)
        self._which = torch.from_numpy(which)  # (M,)

    def loss(self, image: Tensor, picked: Tensor, scale: Tensor) -> Tensor:
        """image (B, D), picked (B,) among the M photos."""
        used, own = self._which[picked].unique(return_inverse=True)
        return losses.contrastive(image, self._features[used], own[:, None] == torch.arange(len(used)), scale)


class _Levels:
    """The five level texts of a scored set."""

    @torch.no_grad()
    def __init__(self, model: Declip, config: Config, words: tuple[str, ...], coarse: Tensor, scores: Tensor) -> None:
        self._texts = clip.encode_texts(model.clip, config.clip.model, list(words))
        self._coarse = coarse  # (P, J, D)
        centres = texts.level_centres(scores.tolist())
        self._targets = torch.tensor(
            np.stack([texts.level_weights(score, centres) for score in scores.tolist()])
        )  # (P, 5)

    def loss(self, projector: torch.nn.Module, count: int, scale: Tensor) -> Tensor:
        photos, jitters = self._coarse.shape[:2]
        picked = torch.randint(photos, (count,))
        image = projector(self._coarse[picked, torch.randint(jitters, (count,))])
        return losses.levels(image, self._texts, self._targets[picked], scale)
