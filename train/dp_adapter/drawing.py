"""What trained adapters draw for references, by diffusers' own pipeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.dp_adapter.adapter import set_scales
from train.dp_adapter.toy import Toy

STEPS = 20
GUIDANCE = 2.0
BATCH = 64  # pictures that are drawn at once


def draw_all(
    toy: Toy, features: Sequence[Tensor], scales: Sequence[float], seed: int, *, one_noise: bool = False
) -> NDArray[np.uint8]:
    """Pictures (N, S, S, 3) with the empty text.

    features: what each adapter of the UNet reads, (N, 1, D). scales: one for each adapter. The seed alone gives the
    noise that picture i starts from, which with `one_noise` is that of all.
    """
    set_scales(toy.unet, scales)
    pipeline, count, side = toy.pipeline(), len(features[0]), toy.unet.config.sample_size
    shape = (1 if one_noise else count, toy.unet.config.in_channels, side, side)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).expand(count, -1, -1, -1)
    pictures = []
    for first in range(0, count, BATCH):
        some = slice(first, min(first + BATCH, count))
        with torch.no_grad():
            text = toy.condition([None] * len(noise[some]))["encoder_hidden_states"]
        latents = pipeline(
            prompt_embeds=text,
            negative_prompt_embeds=text,
            ip_adapter_image_embeds=[torch.cat([torch.zeros_like(read[some]), read[some]]) for read in features],
            latents=noise[some].clone(),
            height=side * pipeline.vae_scale_factor,
            width=side * pipeline.vae_scale_factor,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            output_type="latent",
        ).images
        pictures += toy.decode(latents)
    return np.stack(pictures)
