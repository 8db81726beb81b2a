"""What trained adapters draw for references."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.dp_adapter.adapter import set_scales
from train.dp_adapter.toy import Toy

STEPS = 20
GUIDANCE = 3.0
Pictures = NDArray[np.uint8]  # (N, S, S, 3)
BATCH = 64  # pictures that are drawn at once


def draw_all(
    toy: Toy, features: Sequence[Tensor], scales: Sequence[float], seed: int, *, one_noise: bool = False
) -> Pictures:
    """Pictures with the empty text.

    features: what each adapter of the UNet reads, (N, 1, D). scales: one for each adapter. The seed alone gives the
    noise that picture i starts from, which with `one_noise` is that of all.
    """
    set_scales(toy.unet, scales)
    count = len(features[0])
    noise = _noise(toy, 1 if one_noise else count, seed).expand(count, -1, -1, -1)
    references = [torch.stack([torch.zeros_like(read), read]) for read in features]  # (2, N, 1, D): without, then with
    return _drawn(toy, [None] * count, noise, references)


def draw_words(toy: Toy, photos: Sequence[int], seed: int) -> Pictures:
    """Pictures of photos by their words, of a base without adapters."""
    return _drawn(toy, list(photos), _noise(toy, len(photos), seed), [])


def _noise(toy: Toy, count: int, seed: int) -> Tensor:
    config = toy.unet.config
    shape = (count, config.in_channels, config.sample_size, config.sample_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def _drawn(toy: Toy, words: Sequence[int | None], noise: Tensor, references: Sequence[Tensor]) -> Pictures:
    """What diffusers' pipeline does, which gives all pictures of a batch the same references."""
    pictures = []
    for first in range(0, len(words), BATCH):
        some = slice(first, first + BATCH)
        latents, here = noise[some], words[some]
        text = toy.condition([*[None] * len(here), *here])["encoder_hidden_states"]
        read = {"image_embeds": [each[:, some].flatten(0, 1) for each in references]}
        toy.scheduler.set_timesteps(STEPS)
        for time in toy.scheduler.timesteps:
            said = toy.unet(torch.cat([latents, latents]), time, text, added_cond_kwargs=read).sample
            without, given = said.chunk(2)
            latents = toy.scheduler.step(without + GUIDANCE * (given - without), time, latents).prev_sample
        pictures += toy.decode(latents)
    return np.stack(pictures)
