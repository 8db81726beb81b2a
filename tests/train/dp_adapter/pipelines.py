"""Stable Diffusion 1.5, 2.x and XL, made small on the spot: 16 pixels, random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from train.dp_adapter.adapter import Standard, attach

if TYPE_CHECKING:  # who only collects tests need not wait for it
    import diffusers

KINDS = ("sd1", "sd2", "sdxl")
WIDTHS = {"sd1": 24, "sd2": 32, "sdxl": 48}  # cross_attention_dim, which is that of the text; XL joins two towers


def write(kind: str, folder: Path) -> Path:
    """Saves a pipeline of a kind, and returns its folder."""
    from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline

    torch.manual_seed(0)
    tokenizer = _tokenizer(folder)
    parts: dict[str, Any] = {"vae": _vae(), "unet": unet(kind), "tokenizer": tokenizer, "scheduler": _scheduler(kind)}
    if kind == "sdxl":
        parts |= {"tokenizer_2": tokenizer, "text_encoder": _text(24), "text_encoder_2": _text(24, projected=True)}
        pipeline: DiffusionPipeline = StableDiffusionXLPipeline(**parts)
    else:
        parts |= {"text_encoder": _text(WIDTHS[kind]), "safety_checker": None, "feature_extractor": None}
        pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    pipeline.save_pretrained(folder / kind)
    return folder / kind


def unet(kind: str) -> diffusers.UNet2DConditionModel:
    """The UNet of a kind, with the same weights each time."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(1)
    own: dict[str, Any] = {
        "sd1": {"attention_head_dim": 4},
        "sd2": {"attention_head_dim": (2, 4), "use_linear_projection": True},
        "sdxl": {
            "attention_head_dim": (2, 4),
            "use_linear_projection": True,
            "transformer_layers_per_block": (1, 2),
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 24,
        },
    }[kind]
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTHS[kind],
        **own,
    )


def inputs(kind: str, count: int = 2) -> dict[str, Any]:
    """What the UNet of a kind takes beside references: noisy latents, timesteps and text."""
    noise = torch.Generator().manual_seed(2)
    given: dict[str, Any] = {
        "sample": torch.randn(count, 4, 8, 8, generator=noise),
        "timestep": torch.arange(count) * 100 + 1,
        "encoder_hidden_states": torch.randn(count, 7, WIDTHS[kind], generator=noise),
        "added_cond_kwargs": {},
    }
    if kind == "sdxl":
        pooled = torch.randn(count, 24, generator=noise)
        given["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": torch.full((count, 6), 16.0)}
    return given


def _scheduler(kind: str) -> diffusers.DDIMScheduler:
    from diffusers import DDIMScheduler

    predicted = "v_prediction" if kind == "sd2" else "epsilon"
    return DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type=predicted)


def _vae() -> diffusers.AutoencoderKL:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )


def _text(width: int, *, projected: bool = False) -> CLIPTextModel | CLIPTextModelWithProjection:
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    return kind(
        CLIPTextConfig(
            hidden_size=width,
            intermediate_size=width,
            projection_dim=width,
            num_attention_heads=4,
            num_hidden_layers=2,
            vocab_size=64,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    ).eval()


def _tokenizer(folder: Path) -> CLIPTokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    files = folder / "vocabulary"
    files.mkdir(exist_ok=True)
    (files / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (files / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(files, model_max_length=77)


def features(seed: int, count: int = 2, dimension: int = 768) -> Tensor:
    """Features (N, D) as a bundle gives them: of length 1, and all in one corner."""
    drawn = torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))
    return nn.functional.normalize(drawn + torch.linspace(-2, 3, dimension), dim=1)


def trained(kind: str) -> diffusers.UNet2DConditionModel:
    """The UNet of a kind with two adapters that were trained for a step."""
    model = unet(kind)
    parameters = attach(model, [Standard.of(features(seed, 50)) for seed in (10, 20)])
    predict(model, kind).square().mean().backward()
    torch.optim.AdamW(parameters, lr=0.02).step()
    return model


def predict(model: diffusers.UNet2DConditionModel, kind: str) -> Tensor:
    """What a UNet with two adapters predicts for two references each."""
    given = inputs(kind)
    given["added_cond_kwargs"]["image_embeds"] = [features(seed)[:, None] for seed in (1, 2)]
    return model(**given).sample
