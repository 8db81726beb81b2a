"""What a step of a diffusion's training is of: latents, noise, times, and the weighted error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:  # its import takes seconds
    from diffusers import DDPMScheduler


def times(count: int, steps: int, shift: float, generator: torch.Generator) -> Tensor:
    """Times (count,) in [0, steps); shift 1 draws them evenly, more of them near the noise above 1."""
    even = torch.rand(count, generator=generator)
    return (shift * even / (1 + (shift - 1) * even) * steps).long().clamp_max(steps - 1)


def target(scheduler: DDPMScheduler, latents: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """What the UNet is to say."""
    if scheduler.config.prediction_type == "v_prediction":
        return scheduler.get_velocity(latents, noise, time)
    return noise


def error(scheduler: DDPMScheduler, said: Tensor, wanted: Tensor, time: Tensor, gamma: float) -> Tensor:
    """The mean squared error under min-SNR weights (Hang et al. 2023).

    Where velocity is said, it is weighted by min(SNR + 1, gamma) / (SNR + 1): so the picture weighs 1 even in pure
    noise, where what it shows is decided. The paper's own weight falls to 0 there.
    """
    known = scheduler.alphas_cumprod.to(said.device)[time]
    if scheduler.config.prediction_type == "v_prediction":
        weight = (gamma * (1 - known)).clamp_max(1)  # SNR + 1 = 1 / (1 - known)
    else:
        weight = (gamma * (1 - known) / known.clamp_min(1e-8)).clamp_max(1)
    return (weight * (said.float() - wanted).square().flatten(1).mean(1)).mean()
