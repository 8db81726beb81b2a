"""Adapters on a frozen base: they learn to draw a target from its references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from train import parallel
from train.dp_adapter import diffusion
from train.dp_adapter.adapter import Standard, attach
from train.dp_adapter.album import Album
from train.dp_adapter.config import AdapterConfig
from train.dp_adapter.pairs import System, draw, presence
from train.features import digest
from train.loop import Stage, fit, key

Latents = Callable[[Sequence[int]], Tensor]  # (B, C, H, W) of an album's pictures by their numbers


class Base(Protocol):
    """A frozen diffusion model: a StableDiffusion or a Toy."""

    name: str
    unet: Any
    scheduler: Any

    def condition(self, texts: Sequence[Any]) -> dict[str, Any]:
        """What the UNet takes beside latents and times; None is the empty text."""


@dataclass(frozen=True)
class Material:
    """What adapters learn from: an album, what is known of its pictures, and the text of each of its photos."""

    album: Album
    features: dict[str, Tensor]  # (N, D)
    latents: Latents
    texts: Sequence[Any]
    bundle: str  # the hash of the one that gave the features


def train(base: Base, material: Material, system: System, config: AdapterConfig, seed: int, checkpoint: Path) -> None:
    """Attaches the adapters of a system to the base's UNet and trains them. Keeps a checkpoint."""
    album = material.album
    frozen = digest(base.unet.state_dict().values())
    learnt = album.number(np.arange(len(album.rows))[:, None], np.asarray(album.learnt)).ravel()
    standards = [Standard.of(material.features[name][learnt]) for name, _ in system.reads]
    attach(base.unet, standards, seed)
    stage = Stage(
        name="adapters",
        checkpoint=checkpoint,
        model=base.unet,
        batches=lambda: Batches(material, system, config, base.scheduler.config.num_train_timesteps, seed),
        images=config.batch,
        losses=lambda batch: {"diffusion": _loss(base, config, batch) / parallel.world()},
        weights={"diffusion": 1.0},
        key=key(config, album.key, material.bundle, system, frozen, seed),
        seed=seed,
    )
    fit(stage, config)
    base.unet.requires_grad_(False)


class Batches(Dataset[dict[str, Any]]):
    """Batch i: latents of targets, what the adapters read, texts, noise and times. References are left out at times."""

    def __init__(self, material: Material, system: System, config: AdapterConfig, times: int, seed: int) -> None:
        self.material, self.system, self.config, self.times, self.seed = material, system, config, times, seed

    def __getitem__(self, i: int) -> dict[str, Any]:
        material, config = self.material, self.config
        rng = np.random.default_rng((self.seed, parallel.rank(), i))
        pairs = draw(material.album, material.album.learnt, self.system.pairs, config.batch, rng)
        there = presence(config.batch, config.drop, config.drop_both, rng)
        told = rng.random(config.batch) < config.text
        photos = pairs.target // material.album.config.looks
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        latents = material.latents(pairs.target)
        return {
            "latents": latents,
            "features": self.system.features(material.features, pairs, there),
            "texts": [material.texts[photo] if tell else None for photo, tell in zip(photos, told, strict=True)],
            "noise": torch.randn(latents.shape, generator=generator),
            "time": diffusion.times(config.batch, self.times, config.shift, generator),
        }


def _loss(base: Base, config: AdapterConfig, batch: dict[str, Any]) -> Tensor:
    device = base.unet.device
    latents, noise, time = (batch[name].to(device) for name in ("latents", "noise", "time"))
    with torch.no_grad():
        beside = base.condition(batch["texts"])
    added = {name: value.to(device) for name, value in beside.get("added_cond_kwargs", {}).items()}
    added["image_embeds"] = [features.to(device) for features in batch["features"]]
    noised = base.scheduler.add_noise(latents, noise, time)
    said = base.unet(noised, time, beside["encoder_hidden_states"].to(device), added_cond_kwargs=added).sample
    wanted = diffusion.target(base.scheduler, latents, noise, time)
    return diffusion.error(base.scheduler, said, wanted, time, config.snr)
