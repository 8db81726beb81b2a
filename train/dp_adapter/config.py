"""What python -m train.dp_adapter reads from TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from declip_rt.disk import read_toml
from declip_rt.errors import ConfigError
from declip_rt.model.manifest import Positive
from train.config import Count, LoopConfig, Rate

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Pairing = Literal["crossed", "self"]


class AlbumConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The photos, and the looks that each is seen under."""

    photos: Positive | None = None  # how many of the manifest's are drawn; None: all
    named: str = ""  # a part of the names of the files that are taken
    side: Positive = 512  # pixels of a picture
    looks: Positive = 48
    held_out: Positive = 12  # looks that nothing is trained on


class DiffusionConfig(LoopConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training on noised latents."""

    batch: Positive = 8
    lr: Rate = 1e-4
    ema: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.995
    weight_decay: float = 0.01
    shift: Rate = 1.0  # above 1, more of the steps are near pure noise, where what is shown is decided
    snr: Rate = 5.0  # the gamma of min-SNR


class ToyConfig(DiffusionConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A small base that is trained here: its text is a word for the photo and a few for the look."""

    channels: tuple[Positive, ...] = (64, 128)  # of the UNet's levels
    width: Positive = 64  # of its cross-attention
    tokens: Positive = 4  # of a word
    wordless: Share = 0.3  # of the pictures have no word for the photo, and as many none for the look


class AdapterConfig(DiffusionConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The adapters."""

    pairs: Pairing = "crossed"
    drop: Share = 0.1  # how often one reference is left out, for each
    drop_both: Share = 0.05
    text: Share = 0.0  # how often the photo's text is told, so that what is shown need not come from the reference


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training."""

    album: AlbumConfig
    base: str | ToyConfig  # a folder of a diffusers pipeline, or how one is made
    adapters: AdapterConfig
    bundle: str | None = None  # whose features are read; None: declip-tiny
    seed: Count = 0

    @staticmethod
    def read(path: Path) -> Config:
        """Raises ConfigError where the file has an unknown key, lacks a needed one, or has a value of another type."""
        config = read_toml(path, Config)
        if config.adapters.drop * 2 + config.adapters.drop_both > 1:
            raise ConfigError(f"{path}: twice adapters.drop and adapters.drop_both are together more than 1")
        return config
