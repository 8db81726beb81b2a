"""Losses are least where they should be."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from train.losses import contrastive, levels, ranking

SCALE = torch.tensor(20.0)


def unit(n: int, d: int = 16, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_contrastive_is_clips_loss_for_single_positives() -> None:
    image, text = unit(6), unit(6, seed=1)
    logits = SCALE * image @ text.T
    target = torch.arange(6)
    expected = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
    assert contrastive(image, text, torch.eye(6, dtype=torch.bool), SCALE) == pytest.approx(expected.item(), rel=1e-5)


def test_contrastive_falls_when_partners_meet() -> None:
    image, text = unit(6), unit(6, seed=1)
    eye = torch.eye(6, dtype=torch.bool)
    assert contrastive(image, image, eye, SCALE) < 0.5 * contrastive(image, text, eye, SCALE)


def test_a_shared_text_is_no_negative() -> None:
    text = unit(2)
    image = text[[0, 0, 1]]
    shared = torch.tensor([[1, 0], [1, 0], [0, 1]], dtype=torch.bool)
    best = contrastive(image, text, shared, torch.tensor(100.0))
    assert best == pytest.approx(0.25 * math.log(2), abs=1e-3), (
        "what is left is the text's choice between its two images"
    )


def test_levels_pull_towards_the_targets_mix() -> None:
    texts = unit(5)
    target = torch.tensor([[0, 0.5, 0.5, 0, 0]])
    between = F.normalize(texts[1:2] + texts[2:3], dim=-1)
    assert levels(between, texts, target, SCALE) < levels(texts[1:2], texts, target, SCALE)
    assert levels(between, texts, target, SCALE) < levels(texts[4:5], texts, target, SCALE)


def test_ranking_asks_for_the_margin_and_no_more() -> None:
    assert ranking(torch.tensor([[0.9, 0.8, 0.7]]), 0.05) == 0
    assert ranking(torch.tensor([[0.9, 0.9, 0.7]]), 0.05) == pytest.approx(0.025)
    assert ranking(torch.tensor([[0.1, 0.5]]), 0.05) == pytest.approx(0.45)
