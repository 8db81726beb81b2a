"""Image adapters on a frozen UNet, in diffusers' own IP-Adapter format.

An adapter turns a feature into four tokens, and has a key and a value matrix of its own for these in each
cross-attention. diffusers' own loader and attention processors do the rest, so that what is trained here is what plain
diffusers loads. Two adapters, one on the perceptual and one on the semantic feature, are a DP-Adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import File
from train.dp_adapter.card import BRANCHES, TOKENS, Base, Branch, Card, Declip, crossing, written

if TYPE_CHECKING:  # its import takes seconds
    from diffusers import UNet2DConditionModel

LEAST, TINY = 0.01, 1e-6  # of the mean deviation, and of 1: what varies less in training is not made large


@dataclass(frozen=True)
class Standard:
    """The mean (D,) and the deviation (D,) of the training's features. Projections learn better from numbers near 1."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """That of features (N, D), as they come from the bundle."""
        deviation, mean = torch.std_mean(features.double(), 0, correction=0)
        return cls(mean.float(), deviation.clamp(min=max(LEAST * deviation.mean().item(), TINY)).float())


def attach(unet: UNet2DConditionModel, standards: Sequence[Standard], seed: int = 0) -> list[nn.Parameter]:
    """Freezes the UNet and gives it an adapter for each of `standards`; returns the parameters to train, in FP32.

    The UNet then takes `added_cond_kwargs={"image_embeds": [features, ...]}`, for each adapter (N, 1, D) as they come
    from the bundle; zeros are no reference. All scales are 1. Keys and values begin as those of the text, and the
    projections by the seed. A UNet in half precision needs autocast to train.

    Raises ConfigError where the model is no UNet2DConditionModel, or its cross-attentions have several widths.
    """
    _width(unet)
    unet.requires_grad_(False)
    device = unet.device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        unet._load_ip_adapter_weights([_fresh(unet, len(standard.mean)) for standard in standards])
    for projection, standard in zip(_projections(unet), standards, strict=True):
        projection.register_buffer("mean", standard.mean.to(device), persistent=False)
        projection.register_buffer("deviation", standard.deviation.to(device), persistent=False)
        projection.register_forward_pre_hook(_standardise)
    added = [*_projections(unet), *_processors(unet)]
    return [parameter.requires_grad_() for each in added for parameter in each.float().parameters()]


def state_dicts(unet: UNet2DConditionModel) -> list[dict[str, Tensor]]:
    """What the file of each adapter holds, on the CPU in FP32; the standardisation is folded into the projection."""
    found = []
    for number, projection in enumerate(_projections(unet)):
        tensors = {f"image_proj.{name}": value for name, value in _folded(projection).items()}
        for place, processor in zip(_places(unet), _processors(unet), strict=True):
            tensors[f"ip_adapter.{place}.to_k_ip.weight"] = processor.to_k_ip[number].weight
            tensors[f"ip_adapter.{place}.to_v_ip.weight"] = processor.to_v_ip[number].weight
        found.append({name: tensor.detach().cpu().float().contiguous().clone() for name, tensor in tensors.items()})
    return found


def save(
    unet: UNet2DConditionModel, folder: Path, bundle: Bundle, base: str, scales: tuple[float, float] = (1.0, 1.0)
) -> Card:
    """Writes the folder of a UNet's two adapters, perceptual and semantic, in place of an older one; returns its card.

    base: what the UNet is called, for messages. scales: the ones to begin with. The folder is written whole or not at
    all. Raises ConfigError where it holds something else, and OSError.
    """
    with written(folder) as partial:
        branches = []
        for name, tensors, scale in zip(BRANCHES, state_dicts(unet), scales, strict=True):
            file = partial / f"{name}.safetensors"
            save_file(tensors, file)
            branches.append(Branch(File.of(file), scale))
        card = Card(1, Declip.of(bundle), Base.of(unet, base), *branches)
        card.write(partial)
    return card


def set_scales(unet: UNet2DConditionModel, scales: Sequence[float | dict[str, Any]]) -> None:
    """What `set_ip_adapter_scale` of a pipeline does, without one: a scale for each adapter, 0 leaves it out."""
    from diffusers.loaders import IPAdapterMixin

    IPAdapterMixin.set_ip_adapter_scale(SimpleNamespace(unet=unet), list(scales))


def cross_attentions(unet: UNet2DConditionModel) -> list[nn.Module]:
    """Those of the UNet, in the order in which an adapter's file numbers them."""
    return [unet.get_submodule(name.removesuffix(".processor")) for name in crossing(unet)]


def _fresh(unet: UNet2DConditionModel, dimension: int) -> dict[str, dict[str, Tensor]]:
    width = _width(unet)
    layers = {"proj": nn.Linear(dimension, TOKENS * width), "norm": nn.LayerNorm(width)}
    matrices = {}
    for place, attention in zip(_places(unet), cross_attentions(unet), strict=True):
        matrices[f"{place}.to_k_ip.weight"] = attention.to_k.weight.detach().clone()
        matrices[f"{place}.to_v_ip.weight"] = attention.to_v.weight.detach().clone()
    return {"image_proj": nn.ModuleDict(layers).to(unet.device).state_dict(), "ip_adapter": matrices}


def _width(unet: UNet2DConditionModel) -> int:
    return Base.of(unet, "the base").cross_attention_dim


def _places(unet: UNet2DConditionModel) -> range:
    """1, 3, 5, ...: the format leaves the even numbers to self-attentions."""
    return range(1, 2 * len(crossing(unet)), 2)


def _processors(unet: UNet2DConditionModel) -> list[nn.Module]:
    return [attention.processor for attention in cross_attentions(unet)]


def _projections(unet: UNet2DConditionModel) -> list[nn.Module]:
    return list(unet.encoder_hid_proj.image_projection_layers)


def _standardise(projection: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return ((inputs[0] - projection.mean) / projection.deviation,)


def _folded(projection: nn.Module) -> dict[str, Tensor]:
    """W (x - mean) / deviation + b = (W / deviation) x + (b - (W / deviation) mean)."""
    linear = projection.image_embeds
    weight, bias = linear.weight.double(), linear.bias.double()
    if hasattr(projection, "mean"):  # else it was loaded from a file
        weight = weight / projection.deviation
        bias = bias - weight @ projection.mean.double()
    return {
        "proj.weight": weight,
        "proj.bias": bias,
        "norm.weight": projection.norm.weight,
        "norm.bias": projection.norm.bias,
    }
