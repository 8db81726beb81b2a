"""Pictures of many references are those of diffusers' own pipeline."""

from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

from tests.train.dp_adapter import albums, pipelines
from train.dp_adapter import drawing
from train.dp_adapter.adapter import Standard, attach, set_scales
from train.dp_adapter.run import Workshop


def features() -> list[torch.Tensor]:
    return [pipelines.features(seed, 3)[:, None] for seed in (1, 2)]


def opened(folder: Path) -> StableDiffusionPipeline:
    """What diffusers makes of the base's folder."""
    parts = ("vae", "text_encoder", "tokenizer", "safety_checker", "feature_extractor", "image_encoder")
    return StableDiffusionPipeline(
        **dict.fromkeys(parts),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=DDIMScheduler.from_pretrained(folder / "scheduler"),
        requires_safety_checker=False,
    )


def test_each_picture_is_that_of_the_pipeline(tmp_path: Path):
    toy = Workshop.open(albums.config(), albums.source(tmp_path), tmp_path / "run").base
    pipeline = opened(tmp_path / "run" / "base")
    toy.unet = pipeline.unet
    parameters = attach(toy.unet, [Standard.of(pipelines.features(seed, 50)) for seed in (10, 20)])
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    drawn = drawing.draw_all(toy, features(), (1.0, 0.5), 7)
    noise = torch.randn(3, 48, 4, 4, generator=torch.Generator().manual_seed(7))
    text = toy.condition([None])["encoder_hidden_states"].detach()
    for place in range(3):
        set_scales(toy.unet, (1.0, 0.5))
        references = [each[place : place + 1] for each in features()]
        latents = pipeline(
            prompt_embeds=text,
            negative_prompt_embeds=text,
            ip_adapter_image_embeds=[torch.cat([torch.zeros_like(each), each]) for each in references],
            latents=noise[place : place + 1],
            height=32,
            width=32,
            num_inference_steps=drawing.STEPS,
            guidance_scale=drawing.GUIDANCE,
            output_type="latent",
        ).images
        assert np.abs(toy.decode(latents)[0].astype(int) - drawn[place]).max() <= 1
    assert (drawn[0] != drawn[1]).any()


def test_one_noise_is_that_of_the_first(tmp_path: Path):
    toy = Workshop.open(albums.config(), albums.source(tmp_path), tmp_path / "run").base
    attach(toy.unet, [Standard.of(pipelines.features(seed, 50)) for seed in (10, 20)])
    alike = [each[:1].expand(3, -1, -1) for each in features()]
    drawn = drawing.draw_all(toy, alike, (1.0, 1.0), 7, one_noise=True)
    assert np.abs(drawn[0].astype(int) - drawn[1:]).max() <= 1
