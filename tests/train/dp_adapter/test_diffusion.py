"""Times, targets and weights of a step."""

import pytest
import torch
from diffusers import DDPMScheduler

from train.dp_adapter import diffusion


def scheduler(kind: str) -> DDPMScheduler:
    return DDPMScheduler(prediction_type=kind, rescale_betas_zero_snr=kind == "v_prediction")


def test_a_shift_draws_times_near_the_noise():
    even, high = (diffusion.times(4000, 1000, shift, torch.Generator().manual_seed(0)) for shift in (1.0, 3.0))
    assert even.float().mean() == pytest.approx(500, abs=15)
    assert high.float().mean() > 650
    assert even.min() >= 0
    assert high.max() <= 999


def test_noise_or_velocity_is_said():
    latents, noise, time = torch.ones(2, 1, 2, 2), torch.full((2, 1, 2, 2), 3.0), torch.tensor([0, 999])
    assert torch.equal(diffusion.target(scheduler("epsilon"), latents, noise, time), noise)
    velocity = diffusion.target(scheduler("v_prediction"), latents, noise, time)
    assert velocity[1] == pytest.approx(-torch.ones(1, 2, 2))  # of pure noise: the picture, negated


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_error_is_weighted_by_min_snr(kind: str):
    plan, time = scheduler(kind), torch.tensor([20])
    known = float(plan.alphas_cumprod[20])
    snr = known / (1 - known)
    wanted = min(snr, 5) / snr if kind == "epsilon" else min(snr + 1, 5) / (snr + 1)
    said = diffusion.error(plan, torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), time, 5.0)
    assert float(said) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_pure_noise_weighs_in_full(kind: str):
    said = diffusion.error(scheduler(kind), torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), torch.tensor([999]), 5.0)
    assert float(said) == pytest.approx(1.0)
