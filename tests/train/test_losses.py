"""Losses are least where they should be."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from train.losses import confusion, contrastive, levels, ranking

SCALE = torch.tensor(20.0)


def unit(n: int, d: int = 16, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_contrastive_is_clips_loss_for_single_positives() -> None:
    image, text = unit(6), unit(6, seed=1)
    logits = SCALE * image @ text.T
    target = torch.arange(6)
    expected = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
    assert contrastive(image, text, torch.eye(6), SCALE) == pytest.approx(expected.item(), rel=1e-5)


def test_contrastive_falls_when_partners_meet() -> None:
    image, text = unit(6), unit(6, seed=1)
    eye = torch.eye(6)
    assert contrastive(image, image, eye, SCALE) < 0.5 * contrastive(image, text, eye, SCALE)


def test_a_shared_text_is_no_negative() -> None:
    text = unit(2)
    image = text[[0, 0, 1]]
    shared = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    best = contrastive(image, text, shared, torch.tensor(100.0))
    assert best == pytest.approx(0.25 * math.log(2), abs=1e-3), (
        "what is left is the text's choice between its two images"
    )


def test_confusion_is_what_images_tell_of_texts() -> None:
    text, eye = unit(4), torch.eye(16)
    silent = F.normalize(eye[:1] + 0.1 * unit(5, seed=1) @ (eye - torch.linalg.pinv(text) @ text), dim=-1)
    assert confusion(text, text, SCALE) > 1
    assert confusion(silent, text, SCALE) < 0.05
    assert confusion(text[:1].expand(5, -1), text, SCALE) == pytest.approx(0, abs=1e-5), "what all share tells nothing"


def test_confusion_is_kl_to_the_uniform() -> None:
    image, text = unit(6), unit(4, seed=1)
    told = (SCALE * (image - image.mean(0)) @ text.T).softmax(1)
    expected = (0.25 * (0.25 / told).log()).sum(1).mean()
    assert confusion(image, text, SCALE) == pytest.approx(expected.item(), rel=1e-4)


def test_no_image_is_no_loss() -> None:
    none, text = torch.zeros(0, 16, requires_grad=True), unit(5)
    for loss in (
        contrastive(none, text[:0], torch.zeros(0, 0, dtype=torch.bool), SCALE),
        confusion(none, text, SCALE),
        levels(none, text[:, None], torch.zeros(0, 5), SCALE),
    ):
        assert loss == 0
        loss.backward()


def test_similarities_keep_their_digits_in_half_precision() -> None:
    image, text, eye = unit(6), unit(6, seed=1), torch.eye(6)
    with torch.autocast("cpu", torch.bfloat16):
        half = contrastive(image, text, eye, torch.tensor(100.0))
    assert torch.equal(half, contrastive(image, text, eye, torch.tensor(100.0)))


def test_levels_pull_towards_the_targets_mix() -> None:
    texts = unit(5)
    target = torch.tensor([[0, 0.5, 0.5, 0, 0]])
    between = F.normalize(texts[1:2] + texts[2:3], dim=-1)
    assert levels(between, texts[:, None], target, SCALE) < levels(texts[1:2], texts[:, None], target, SCALE)
    assert levels(between, texts[:, None], target, SCALE) < levels(texts[4:5], texts[:, None], target, SCALE)


def test_each_wording_has_to_tell_the_level() -> None:
    """Two wordings cost the mean of what each costs, and not what their mean would."""
    one, other, target = unit(5), unit(5, seed=1), torch.eye(5)
    both = levels(one, torch.stack([one, other], 1), target, SCALE)
    alone = [levels(one, wording[:, None], target, SCALE) for wording in (one, other)]
    assert both.item() == pytest.approx(sum(alone).item() / 2)


def test_ranking_asks_for_the_margin_and_no_more() -> None:
    assert ranking(torch.tensor([[0.9, 0.8, 0.7]]), 0.05) == 0
    assert ranking(torch.tensor([[0.9, 0.9, 0.7]]), 0.05) == pytest.approx(0.025)
    assert ranking(torch.tensor([[0.1, 0.5]]), 0.05) == pytest.approx(0.45)
