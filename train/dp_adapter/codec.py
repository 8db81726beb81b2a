"""Pixels as latents without a trained autoencoder: a blockwise DCT whose frequencies have deviations of our choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from train.distortions import RGB

BLOCK = 4  # pixels a side
CHANNELS = 3 * BLOCK**2
# The deviation of a frequency, by the sum of its two numbers. Low ones stand out of the noise first and weigh more
# in the loss, as they do in photos, whose high ones would weigh nothing.
GAINS = (2.0, 1.4)


def tensor(pictures: Sequence[RGB]) -> Tensor:
    """Pictures (S, S, 3) -> (N, 3, S, S) in [-1, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


class Codec(nn.Module):
    """(N, 3, S, S) in [-1, 1] <-> (N, 48, S/4, S/4). It is linear, exact, and learns two numbers a channel."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(CHANNELS))
        self.register_buffer("deviation", torch.ones(CHANNELS))

    @classmethod
    def of(cls, pictures: Tensor) -> Self:
        """One that whitens pictures (N, 3, S, S)."""
        codec = cls()
        deviation, mean = torch.std_mean(codec.encode(pictures), (0, 2, 3))
        codec.mean.copy_(mean)
        codec.deviation.copy_(deviation / gains())
        return codec

    def encode(self, pictures: Tensor) -> Tensor:
        blocks = nn.functional.pixel_unshuffle(pictures, BLOCK).unflatten(1, (3, BLOCK**2))
        frequencies = torch.einsum("fp,ncpyx->ncfyx", basis(), blocks).flatten(1, 2)
        return (frequencies - self.mean[:, None, None]) / self.deviation[:, None, None]

    def decode(self, latents: Tensor) -> Tensor:
        frequencies = latents * self.deviation[:, None, None] + self.mean[:, None, None]
        blocks = torch.einsum("fp,ncfyx->ncpyx", basis(), frequencies.unflatten(1, (3, BLOCK**2)))
        return nn.functional.pixel_shuffle(blocks.flatten(1, 2), BLOCK)


def basis() -> Tensor:
    """The orthonormal DCT of a block: (frequencies, pixels), both row by row."""
    places = (torch.arange(BLOCK) + 0.5) * math.pi / BLOCK
    one = torch.cos(torch.arange(BLOCK)[:, None] * places) * math.sqrt(2 / BLOCK)
    one[0] /= math.sqrt(2)
    return torch.kron(one, one)


def gains() -> Tensor:
    """GAINS for each channel."""
    order = (torch.arange(BLOCK)[:, None] + torch.arange(BLOCK)).flatten()
    each = torch.tensor([*GAINS, 1.0])[order.clamp_max(len(GAINS))]
    return each.repeat(3)
