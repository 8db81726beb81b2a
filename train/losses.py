"""Losses."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def contrastive(image: Tensor, text: Tensor, positives: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE (CLIP, arXiv 2103.00020) in which an image may have several positive texts and the reverse.

    image: (N, D), text: (M, D), both L2-normalised; positives: (N, M) bool, at least one per row and column.
    """
    logits = scale * image @ text.T  # (N, M)

    def one_way(logits: Tensor, positives: Tensor) -> Tensor:
        target = positives / positives.sum(1, keepdim=True)
        return F.cross_entropy(logits, target)

    return 0.5 * (one_way(logits, positives.float()) + one_way(logits.T, positives.T.float()))


def levels(image: Tensor, texts: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    """Cross entropy of image (N, D) over L ordered level texts (L, D), soft targets (N, L): LIQE, arXiv 2303.14968."""
    return F.cross_entropy(scale * image @ texts.T, target)


def ranking(scores: Tensor, margin: float) -> Tensor:
    """Hinge loss on series (N, S) whose scores should fall from each element to the next by at least `margin`."""
    return F.relu(margin - (scores[:, :-1] - scores[:, 1:])).mean()
