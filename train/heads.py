"""Stage 3: the quality heads on the perceptual feature, and the calibration of all heads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

from declip_rt.model.manifest import Calibration
from train import losses
from train.config import Config, HeadsConfig
from train.model import ANTONYMS, ATTRIBUTES, QUALITIES, Declip, LaionHead, QualityHead, axis, dimension
from train.rated import Rated, Scored

log = logging.getLogger("train.heads")
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
USUAL = 0.03
FOLDS = 5  # of the photos, for the choice among them
STEPS = 200  # of L-BFGS, at most


def train(model: Declip, config: Config, rated: Rated) -> Calibration:
    """Trains the quality heads, fits the attribute heads, and returns the percentiles of the reference photos."""
    model.perceptual.eval()
    with torch.no_grad():
        learnt = seen(rated, model.perceptual)
    learn(model.quality, config, learnt)
    if config.heads.laion is not None:
        model.quality["aesthetic"] = LaionHead.read(Path(config.heads.laion), dimension(config.clip.model))
    with torch.no_grad():
        reference = model.perceptual(rated.reference)
        for name in QUALITIES:
            if isinstance(model.quality[name], QualityHead) and name not in {some.head for some in rated.scored}:
                along = axis(model.clip, config.clip.model, ANTONYMS[name])
                model.quality[name].lean(along, reference)
        model.attributes.fit(model.clip, config.clip.model, reference)
        if rated.val is not None:
            val = rated.val.features[:, 0]
            read = model.read(val, model.perceptual(val))[:, 0]
            log.info("SRCC on the MOS val split: %.3f", spearmanr(read, rated.val.scores).statistic)
        return _calibrate(model.read(rated.reference, reference), rated.referred)


def learn(quality: nn.ModuleDict, config: Config, rated: Rated) -> None:
    """Fits linear heads in place, by name, on features as they are."""
    for name in dict.fromkeys(some.head for some in rated.scored):
        sets = [some for some in rated.scored if some.head == name]
        penalty = config.heads.penalty.get(name) or choose(name, sets, rated, config.heads)
        fit(quality[name], sets, rated, config.heads, penalty)
        log.info("%s head: penalty %.3g", name, penalty)


def choose(name: str, sets: list[Scored], rated: Rated, config: HeadsConfig) -> float:
    """The penalty of PENALTIES that ranks photos best which the head was not fit to: a mean over FOLDS and sets.

    Sets of fewer photos than FOLDS say nothing: the penalty is then USUAL.
    """
    if min(len(some.scores) for some in sets) < FOLDS:
        return USUAL
    dim = sets[0].features.shape[-1]
    found = []
    for penalty in PENALTIES:
        srcc = []
        for fold in range(FOLDS):
            held = [_fold(some) == fold for some in sets]
            head = QualityHead(dim)
            fit(head, [_part(some, ~out) for some, out in zip(sets, held, strict=True)], rated, config, penalty)
            with torch.no_grad():
                for some, out in zip(sets, held, strict=True):
                    if out.sum() > 1:
                        srcc.append(spearmanr(head(some.features[out]).mean(1), some.scores[out]).statistic)
        found.append(float(np.nanmean(srcc)) if srcc else 0.0)
        log.info("%s head: penalty %.3g, cross-validated SRCC %.3f", name, penalty, found[-1])
    return PENALTIES[int(np.argmax(found))]


def _fold(some: Scored) -> Tensor:
    """The fold (P,) of each photo, the same each time."""
    return torch.from_numpy(np.random.default_rng(0).permutation(len(some.scores)) % FOLDS)


def _part(some: Scored, which: Tensor) -> Scored:
    return replace(some, features=some.features[which], scores=some.scores[which])


def fit(head: QualityHead, sets: list[Scored], rated: Rated, config: HeadsConfig, penalty: float) -> None:
    """Fits one head in place to all photos at once: the scores, a penalty on squared weights and, if technical, ranks.

    Sets may have scales of their own: all but the first learn a gain and an offset with the head (after Li et al.,
    2021, arXiv 2011.04263).
    """
    scales = [torch.tensor([1.0, 0.0], requires_grad=i > 0) for i in range(len(sets))]
    head.reset(torch.cat([some.scores for some in sets]).mean())
    parameters = [*head.parameters(), *scales[1:]]
    optimizer = torch.optim.LBFGS(parameters, max_iter=STEPS, history_size=20, line_search_fn="strong_wolfe")
    falls = sets[0].head == "technical"

    def loss() -> Tensor:
        total = penalty * head.linear.weight.square().sum()
        for some, (gain, offset) in zip(sets, scales, strict=True):
            read = gain * head(some.features) + offset  # (P, J)
            total = total + F.mse_loss(read, some.scores[:, None].expand_as(read))
            if config.pair_weight:
                total = total + config.pair_weight * losses.pairwise(read.mean(1), some.scores)
        for features, weight, margin in (
            (rated.series, config.rank_weight, config.margin),
            (rated.ladders, config.ladder_weight, config.step),
        ):
            if falls and weight:
                total = total + weight * losses.ranking(head(features), margin)
        return total

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = loss()
        total.backward()
        return total

    optimizer.step(closure)
    head.requires_grad_(False)


def seen(rated: Rated, space: Callable[[Tensor], Tensor]) -> Rated:
    """What is learned from, with features of another space than the coarse one."""
    scored = tuple(replace(some, features=space(some.features)) for some in rated.scored)
    return replace(rated, series=space(rated.series), ladders=space(rated.ladders), scored=scored)


def _calibrate(scores: torch.Tensor, reference: str) -> Calibration:
    names = (*QUALITIES, *ATTRIBUTES)
    return Calibration(
        reference=reference,
        percentiles={name: Calibration.marks(scores[:, i].cpu()) for i, name in enumerate(names)},
    )
