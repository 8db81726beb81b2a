"""Training configuration: one frozen struct per stage, filled from a TOML file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from declip_rt.bundle import ViewSpec
from declip_rt.errors import ConfigError


class _Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen, typed part of the TOML."""


class ClipConfig(_Stage, frozen=True):
    """Stage 1: the open_clip model, and its contrastive training from scratch (`steps = 0` keeps its weights)."""

    model: str  # an open_clip model name, or the name of a JSON file beside the TOML
    pretrained: str | None = None  # an open_clip tag or a weights file
    steps: int = 0
    photos: int = 24  # pristine photos a batch
    variants: int = 4  # distorted variants of each of them
    mos_photos: int = 24
    beauty_photos: int = 8
    crop: int = 160  # side of the training crops, pixels
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 100
    mos_weight: float = 0.5
    beauty_weight: float = 0.2


class FeaturesConfig(_Stage, frozen=True):
    """The features of the frozen model that stages 2 and 3 learn from."""

    variants: int = 8  # distorted variants of each pristine photo
    jitters: int = 8  # random flips and crops of each scored photo
    series: int = 1000  # pristine photos with a kind of distortion at rising strengths


class DeclipConfig(_Stage, frozen=True):
    """Stage 2: the two ResMLP projectors."""

    hidden: int = 512
    steps: int = 1500
    batch: int = 512
    lr: float = 1e-3
    weight_decay: float = 0.05
    level_weight: float = 0.5  # of the quality and beauty level texts


class HeadsConfig(_Stage, frozen=True):
    """Stage 3: the quality heads on the perceptual feature."""

    hidden: int = 64
    steps: int = 1500
    batch: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.05
    rank_weight: float = 1.0
    margin: float = 0.03  # by which the technical score should fall with each strength


class Config(_Stage, frozen=True):
    """One training run."""

    name: str
    licence: str
    summary: str  # the model card's first sentences
    seed: int
    views: ViewSpec
    clip: ClipConfig
    features: FeaturesConfig = FeaturesConfig()
    declip: DeclipConfig = DeclipConfig()
    heads: HeadsConfig = HeadsConfig()

    @staticmethod
    def read(path: Path) -> Config:
        """Raises ConfigError where the file has an unknown key, lacks a needed one, or has a value of another type."""
        try:
            return msgspec.toml.decode(path.read_bytes(), type=Config)
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"cannot use {path}: {error}") from error
