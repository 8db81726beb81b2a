"""The stages of a training: features, the base, latents, adapters. Each is kept, and made once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from declip_rt.model.bundle import Bundle
from train import parallel
from train.dp_adapter import training
from train.dp_adapter.adapter import save
from train.dp_adapter.album import Album
from train.dp_adapter.codec import tensor
from train.dp_adapter.config import Config, ToyConfig
from train.dp_adapter.encoder import Encoder
from train.dp_adapter.pairs import SYSTEMS, System
from train.dp_adapter.sources import Source
from train.dp_adapter.training import Base, Latents, Material

log = logging.getLogger("train.dp_adapter")


@dataclass(frozen=True)
class Workshop:
    """A frozen base and what adapters learn from, in a run's folder."""

    config: Config
    base: Base
    material: Material
    bundle: Bundle
    out: Path

    @classmethod
    def open(cls, config: Config, source: Source, out: Path) -> Workshop:
        """Makes what `out` lacks. Raises DeclipError."""
        album = Album.of(source, config.album, config.seed)
        bundle = Bundle(config.bundle)
        features = album.features(Encoder(bundle, torch.get_num_threads()), out / "features")
        make = _toy if isinstance(config.base, ToyConfig) else _stable_diffusion
        base, latents, texts = make(config, album, out)
        return cls(config, base, Material(album, features, latents, texts, bundle.hash), bundle, out)

    def trained(self, name: str, system: System, seed: int) -> Base:
        """The base with a system's adapters, trained or as the checkpoint has them; a workshop has one such base."""
        checkpoint = self.out / f"{name}-{seed}.pt"
        training.train(self.base, self.material, system, self.config.adapters, seed, checkpoint)
        return self.base


def _toy(config: Config, album: Album, out: Path) -> tuple[Base, Latents, Sequence[Any]]:
    from train.dp_adapter import toy

    shape = (3, config.album.side, config.album.side)
    kept = album.kept(lambda some: tensor(some).flatten(1), out / "pictures" / album.key, "pictures")
    pictures = kept[range(len(album))].unflatten(1, shape)
    base = toy.train(album, pictures, config.base, config.seed, out)
    latents = base.codec.encode(pictures)
    return base, latents.__getitem__, range(len(album.rows))


def _stable_diffusion(config: Config, album: Album, out: Path) -> tuple[Base, Latents, Sequence[Any]]:
    from train.dp_adapter.sd import StableDiffusion

    base = StableDiffusion(config.base, config.album.side)
    base.vae.to(parallel.device())
    shape = base.encode(album.pictures([0])).shape[1:]
    name = hashlib.sha256(f"{album.key} {config.base}".encode()).hexdigest()
    kept = album.kept(lambda some: base.encode(some).flatten(1), out / "latents" / name, "latents")
    base.vae.cpu()
    texts = [row.semantic[0] if row.semantic else None for row in album.rows]
    return base, lambda some: kept[some].unflatten(1, shape), texts


def train(config: Config, source: Source, out: Path) -> Path:
    """Trains a DP-Adapter and returns its folder. Raises DeclipError."""
    workshop = Workshop.open(config, source, out)
    pairs = config.adapters.pairs
    name = "self" if pairs == "self" else "dp_adapter"  # as evaluate calls them
    base = workshop.trained(name, replace(SYSTEMS["dp_adapter"], pairs=pairs), config.seed)
    if parallel.rank() == 0:
        save(base.unet, out / "adapter", workshop.bundle, workshop.base.name)
        log.info("%s written", out / "adapter")
    return out / "adapter"
