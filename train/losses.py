"""Losses. Those of images are 0 where there is no image."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def _logits(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Scaled similarities (N, M) in float32: at CLIP's scale of 100, half precision would lose the differences."""
    with torch.autocast(image.device.type, enabled=False):
        return scale.float() * image.float() @ text.float().T


def contrastive(image: Tensor, text: Tensor, positives: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE (CLIP, arXiv 2103.00020) in which an image may have several positive texts and the reverse.

    image: (N, D), text: (M, D), both L2-normalised; positives: (N, M), each row's and column's weights, not all 0.
    """
    logits = _logits(image, text, scale)
    if len(logits) == 0:
        return logits.sum()

    def one_way(logits: Tensor, positives: Tensor) -> Tensor:
        return F.cross_entropy(logits, positives / positives.sum(1, keepdim=True))

    return 0.5 * (one_way(logits, positives) + one_way(logits.T, positives.T))


def confusion(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """How much images (N, D) tell of texts (M, D) that they should know nothing of, in nats; 0 is nothing.

    KL(uniform || softmax_m(scale * (image_n - mean image) . text_m)), averaged over n: the target is that of the domain
    confusion loss (Tzeng et al., 2015, arXiv 1510.02192). Similarities are those to the image's difference from the
    batch's mean, because a text that is near to all images alike tells none of them from another.
    """
    logits = _logits(image - image.mean(0), text, scale)
    if logits.numel() == 0:
        return logits.sum()
    return -logits.log_softmax(1).mean() - math.log(len(text))


def levels(image: Tensor, texts: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    """Cross entropy of image (N, D) over L ordered level texts, soft targets (N, L): LIQE, arXiv 2303.14968.

    Each level has K wordings (L, K, D), and each of them has to tell the level.
    """
    logits = _logits(image, texts.flatten(0, 1), scale).unflatten(1, texts.shape[:2])  # (N, L, K)
    return F.cross_entropy(logits, target[..., None].expand_as(logits)) if len(logits) else logits.sum()


def pairwise(scores: Tensor, target: Tensor) -> Tensor:
    """Logistic loss on all pairs of scores (N,) whose targets (N,) differ (RankNet, Burges et al., 2005)."""
    above = target[:, None] > target
    return F.softplus(-10 * (scores[:, None] - scores))[above].mean() if above.any() else scores.sum() * 0


def ranking(scores: Tensor, margin: float) -> Tensor:
    """Hinge loss on series (N, S) whose scores should fall from each element to the next by at least `margin`."""
    return F.relu(margin - (scores[:, :-1] - scores[:, 1:])).mean()
