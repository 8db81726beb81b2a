"""What docs/dp_adapter.md says of adapters for Stable Diffusion at full size, counted without weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from declip_rt import Bundle
from train.dp_adapter.adapter import cross_attentions
from train.dp_adapter.card import TOKENS

PAGE = (Path(__file__).parents[3] / "docs" / "dp_adapter.md").read_text()
FOUR = {"block_out_channels": (320, 640, 1280, 1280)}
XL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
BASES: dict[str, tuple[int, int, dict[str, Any]]] = {  # pixels, cross_attention_dim, and what else its UNet is
    "Stable Diffusion 1.5": (512, 768, FOUR | {"attention_head_dim": 8}),
    "Stable Diffusion 2.1": (768, 1024, FOUR | {"attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}),
    "Stable Diffusion XL": (1024, 2048, XL),
}


@pytest.mark.parametrize("name", BASES)
def test_the_page_tells_the_sizes(name: str, bundle: Bundle) -> None:
    from diffusers import UNet2DConditionModel

    pixels, width, config = BASES[name]
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=width, **config)
        given = (torch.empty(1, 4, pixels // 8, pixels // 8), torch.zeros(1), torch.empty(1, 77, width))
        added = {"text_embeds": torch.empty(1, 1280), "time_ids": torch.empty(1, 6)}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            unet(*given, added_cond_kwargs=added)
    matrices = sum(2 * each.to_k.weight.numel() for each in cross_attentions(unet))
    trained = matrices + (bundle.manifest.features + 1) * TOKENS * width + 2 * width
    places, teraflop = len(cross_attentions(unet)), counter.get_total_flops() / 1e12
    file = f"{4e-6 * trained:.0f} MB" if trained < 1e8 else f"{4e-9 * trained:.1f} GB"
    numbers = f"{trained / 1e6:.3g} M | {file} | {teraflop:.2f} TFLOP |"
    assert f"| {name}, {pixels} pixels | {width} | {places} | {numbers}" in PAGE


def test_the_estimate_is_that_of_its_arithmetic() -> None:
    passes = {
        name: float(tera) for name, tera in re.findall(r"^\| (Stable Diffusion [^,]+),.* ([\d.]+) TFLOP", PAGE, re.M)
    }
    total = {name: 100_000 * 32 * 2 * tera for name, tera in passes.items()}
    assert f"{total['Stable Diffusion 1.5'] / 1e6:.1f} million TFLOP" in PAGE
    assert f"takes {total['Stable Diffusion 1.5'] / 100 / 3600:.0f} hours" in PAGE
    assert f"{total['Stable Diffusion XL'] / 100 / 86400:.0f} days" in PAGE
