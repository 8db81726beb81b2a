"""Training configuration: one frozen struct per stage, filled from a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from declip_rt.disk import read_toml
from declip_rt.model.manifest import Positive, Source, ViewSpec

Count = Annotated[int, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(gt=0)]


class _Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen, typed part of the TOML."""


class LoopConfig(_Stage, frozen=True, kw_only=True):
    """How stages 1 and 2 run (loop.py)."""

    steps: Count
    lr: Rate
    warmup: Count = 100  # steps in which the learning rate rises; a cosine follows
    weight_decay: float = 0.05
    clip_norm: Rate = 1.0  # the gradient's norm is kept at or below it
    accumulate: Positive = 1  # batches a step, each with its own negatives
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    ema: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.999  # of the averaged weights, which are what is kept; 0 = off
    workers: Count = 1  # processes that read images
    log_every: Positive = 20  # steps
    save_every: Positive = 200  # steps


class AlignConfig(LoopConfig, frozen=True, kw_only=True):
    """What is aligned in stages 1 and 2, and by how much."""

    batch: Positive = 512  # images with texts, in each process
    perceptual_weight: float = 1.0
    semantic_weight: float = 1.0
    semantic_temperature: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # t: texts alike count, too; 0: one's own alone
    cross_weight: float = 0.0  # of the other text's influence on a space
    level_weight: float = 0.5  # of the quality and beauty level texts
    attribute_weight: float = 0.0  # of the words for the grades of an attribute, where it is known


class ClipConfig(AlignConfig, frozen=True, kw_only=True):
    """Stage 1: the open_clip model, and how its text projection is learned (`steps = 0` keeps its weights)."""

    model: str  # an open_clip model name, or the name of a JSON file beside the TOML
    pretrained: str | None = None  # an open_clip tag or a weights file
    steps: Count = 0
    lr: Rate = 1e-3


class FeaturesConfig(_Stage, frozen=True):
    """The photos whose features stages 2 and 3 learn from."""

    variants: int = 8  # distorted variants of each pristine photo
    jitters: int = 8  # random flips and crops of each scored photo
    series: int = 1000  # pristine photos with a kind of distortion at rising strengths
    ladders: int = 300  # lossless photos, compressed more and more


class DeclipConfig(AlignConfig, frozen=True, kw_only=True):
    """Stage 2: the two ResMLP projectors, and with `unfreeze` the image tower's last blocks."""

    hidden: int = 512
    unfreeze: Count = 0  # blocks
    steps: Count = 1500
    lr: Rate = 1e-3
    cross_weight: float = 0.1


class SetConfig(_Stage, frozen=True):
    """A published dataset (readers.py) whose training split the heads learn from too."""

    reader: str
    folder: str


class HeadsConfig(_Stage, frozen=True):
    """Stage 3: linear quality heads on the perceptual feature."""

    laion: str | None = None  # an .npz with `w` and `b`: LAION's linear aesthetic head on the coarse CLIP feature
    sets: tuple[SetConfig, ...] = ()
    penalty: dict[Literal["technical", "aesthetic"], Rate] = {}  # on the squared weights; left out: by cross-validation
    pair_weight: float = 0.0  # of a ranking loss among photos with scores
    rank_weight: float = 0.3  # of the ranking loss along series of rising distortion
    margin: float = 0.02  # by which the technical score should fall with each strength
    ladder_weight: float = 0.3  # of the ranking loss along ladders of compression
    step: float = 0.003  # by which it should fall with each step of a ladder


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
    judge: HeadsConfig = HeadsConfig()  # the linear heads on the coarse feature that give verdicts
    heads: HeadsConfig = HeadsConfig()
    data: tuple[Source, ...] = ()  # for the model card: what it is trained on, on which terms

    @staticmethod
    def read(path: Path) -> Config:
        """Raises ConfigError where the file has an unknown key, lacks a needed one, or has a value of another type."""
        return read_toml(path, Config)
