"""DeCLIP: a frozen CLIP image tower, two ResMLP projectors, and heads on the perceptual feature."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec
import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip import CLIP
from torch import Tensor, nn

from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError
from declip_rt.model.manifest import Calibration
from train import clip
from train.config import Config

# attribute: its two ends, and antonym prompts (low, high)
ATTRIBUTES: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "brightness": (
        "dark",
        "bright",
        (("a very dark photo", "a very bright photo"), ("a dark photo", "a bright photo")),
    ),
    "colorfulness": (
        "colorless",
        "colorful",
        (("an almost colorless photo", "a very colorful photo"), ("a muted photo", "a colorful photo")),
    ),
    "contrast": (
        "flat",
        "contrasty",
        (("a very flat photo", "a high contrast photo"), ("a low contrast photo", "a contrasty photo")),
    ),
    "sharpness": (
        "blurry",
        "sharp",
        (
            ("a very blurry photo", "a clean and sharp photo"),
            ("a clearly out of focus photo", "a sharp and clear photo"),
        ),
    ),
    "noisiness": (
        "clean",
        "noisy",
        (("a clean and sharp photo", "a very noisy photo"), ("a sharp and clear photo", "a clearly grainy photo")),
    ),
    "compression": (
        "uncompressed",
        "compressed",
        (("a clean and sharp photo", "a very blocky photo"), ("a sharp and clear photo", "a clearly compressed photo")),
    ),
    "depth_of_field": (
        "shallow",
        "deep",
        (
            ("a photo that is very shallow in depth of field", "a clean and sharp photo"),
            ("a photo that is clearly rich in bokeh", "a sharp and clear photo"),
        ),
    ),
}
BETTER: dict[str, Literal["low", "high"]] = {"sharpness": "high", "noisiness": "low", "compression": "low"}
# quality: antonym prompts (low, high), for reading it without training
ANTONYMS = {
    "technical": (
        ("a photo of bad quality", "a photo of excellent quality"),
        ("a photo of poor quality", "a photo of good quality"),
    ),
    "aesthetic": (("a very ugly photo", "a very beautiful photo"), ("an ugly photo", "a beautiful photo")),
}
QUALITIES = ("technical", "aesthetic")
SPREAD = 1.5  # a zero-shot head is the sigmoid of deviations times this


class ResMLP(nn.Module):
    """A residual two-layer MLP on (N, D) that starts as the identity; its output is L2-normalised."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        nn.init.zeros_(self.mlp[-1].weight)
        nn.init.zeros_(self.mlp[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x + self.mlp(x), dim=-1)


class QualityHead(nn.Module):
    """Linear: (..., D) L2-normalised -> (...) in [0, 1]. It learns from ratings or, without any, from prompts."""

    reads = "perceptual"
    zero_shot: Tensor  # () bool: whether it is of prompts

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = dim**0.5  # brings a unit vector's elements to unit variance
        self.linear = nn.Linear(dim, 1)
        self.register_buffer("zero_shot", torch.tensor(False))

    def reset(self, mean: Tensor) -> None:
        """Gives all photos the score `mean`."""
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.fill_(torch.logit(mean, 1e-3))

    @torch.no_grad()
    def lean(self, axis: Tensor, reference: Tensor) -> None:
        """Reads along `axis` (D,), centred and scaled so that photos like `reference` (R, D) spread over the range."""
        along = reference @ axis
        spread = along.std().clamp_min(1e-6) / SPREAD
        self.linear.weight.copy_((axis / (spread * self.scale))[None])
        self.linear.bias.fill_(-along.median() / spread)
        self.zero_shot.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.scale * x).squeeze(-1).sigmoid()


class LaionHead(nn.Module):
    """LAION's linear aesthetic head (aesthetic-predictor): the coarse CLIP feature (..., D) -> (...) in [0, 1].

    Its own scale runs from 0 to 10.
    """

    reads = "coarse"
    weight: Tensor  # (D,)
    bias: Tensor  # (1,)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(dim))
        self.register_buffer("bias", torch.zeros(1))

    @staticmethod
    def read(path: Path, dim: int) -> LaionHead:
        """Raises ConfigError where the file is none, or fits another width."""
        head = LaionHead(dim)
        try:
            with np.load(path) as file:
                head.load_state_dict({"weight": torch.from_numpy(file["w"]), "bias": torch.from_numpy(file["b"])})
        except Exception as error:  # numpy and torch raise nearly anything
            raise ConfigError(f"heads.laion: {path} has no `w` ({dim},) and `b` (1,): {error}") from error
        return head

    def forward(self, x: Tensor) -> Tensor:
        return ((x @ self.weight + self.bias) / 10).clamp(0, 1)


@torch.no_grad()
def axis(model: CLIP, name: str, prompts: Sequence[tuple[str, str]]) -> Tensor:
    """From the low to the high prompts of antonym pairs: (D,)."""
    low, high = (clip.encode_texts(model, name, list(texts)).mean(0) for texts in zip(*prompts, strict=True))
    return F.normalize(high, dim=0) - F.normalize(low, dim=0)


class AttributeHeads(nn.Module):
    """Zero-shot heads from antonym prompts: (N, D) -> (N, A) in [0, 1].

    A head's value is the sigmoid of (similarity to `high` less similarity to `low`), centred and scaled (`fit`) so that
    photos like the reference ones spread over the range.
    """

    axes: Tensor  # (A, D): high minus low
    centre: Tensor  # (A,)
    spread: Tensor  # (A,)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("axes", torch.zeros(len(ATTRIBUTES), dim))
        self.register_buffer("centre", torch.zeros(len(ATTRIBUTES)))
        self.register_buffer("spread", torch.ones(len(ATTRIBUTES)))

    def forward(self, x: Tensor) -> Tensor:
        return ((x @ self.axes.T - self.centre) / self.spread).sigmoid()

    @torch.no_grad()
    def fit(self, model: CLIP, name: str, reference: Tensor) -> None:
        """Takes the prompts' embeddings, and the median and spread of the reference photos' features (R, D)."""
        for i, (_, _, prompts) in enumerate(ATTRIBUTES.values()):
            self.axes[i] = axis(model, name, prompts)
        along = reference @ self.axes.T
        self.centre.copy_(along.median(0).values)
        self.spread.copy_(along.std(0).clamp_min(1e-6) / SPREAD)


class Declip(nn.Module):
    """uint8 pixels (N, V, S, S, 3) -> scores (N, K), perceptual (N, D), semantic (N, D)."""

    def __init__(self, model: CLIP, dim: int, hidden: int) -> None:
        super().__init__()
        self.clip = model.eval().requires_grad_(False)
        self.perceptual = ResMLP(dim, hidden)
        self.semantic = ResMLP(dim, hidden)
        self.quality = new_heads(dim)
        self.attributes = AttributeHeads(dim)

    def coarse(self, pixels: Tensor) -> Tensor:
        """The frozen model's feature, the L2-normalised mean over views: (N, V, S, S, 3) -> (N, D)."""
        return self.pool(self.views(pixels))

    def views(self, pixels: Tensor) -> Tensor:
        """What the locked part of the image tower makes of each view: (N, V, S, S, 3) -> (N, V, F)."""
        v, size = pixels.shape[1:3]
        views = pixels.float().reshape(-1, size, size, 3)  # the Cast comes first: TensorRT asks for it
        features = clip.locked_image(self.clip)(clip.normalise(views, self.clip))  # (N*V, F)
        return features.reshape(-1, v, features.shape[1])

    def pool(self, views: Tensor) -> Tensor:
        """The coarse feature, from what the locked part made of the views: (N, V, F) -> (N, D)."""
        visual = self.clip.visual
        features = visual.head(views) if clip.has_projection(visual) else views
        return F.normalize(F.normalize(features, dim=-1).mean(1), dim=-1)

    def read(self, coarse: Tensor, perceptual: Tensor) -> Tensor:
        """(N, D) twice -> (N, K): the quality heads, then the attributes."""
        features = {"coarse": coarse, "perceptual": perceptual}
        quality = torch.stack([self.quality[name](features[self.quality[name].reads]) for name in QUALITIES], 1)
        return torch.cat([quality, self.attributes(perceptual)], 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        coarse = self.coarse(pixels)
        perceptual = self.perceptual(coarse)
        return self.read(coarse, perceptual), perceptual, self.semantic(coarse)


def new_heads(dim: int) -> nn.ModuleDict:
    return nn.ModuleDict({name: QualityHead(dim) for name in QUALITIES})


def create(config: Config, folder: Path) -> Declip:
    """A new model, the same for the same `config.seed`; `folder` may hold the JSON file of an architecture."""
    torch.manual_seed(config.seed)
    return build(config, clip.load(config.clip, folder))


def build(config: Config, model: CLIP) -> Declip:
    """With new projectors and heads, the same for the same `config.seed`."""
    torch.manual_seed(config.seed + 1)
    return Declip(model, dimension(config.clip.model), config.declip.hidden)


def dimension(name: str) -> int:
    """D, the width of the open_clip model's embedding."""
    return int(open_clip.get_model_config(name)["embed_dim"])


def save(path: Path, config: Config, model: Declip, calibration: Calibration) -> None:
    """A whole model in one file: weights, configuration, open_clip architecture and calibration."""
    state = {
        "config": msgspec.json.encode(config),
        "architecture": msgspec.json.encode(clip.architecture(config.clip.model)),
        "calibration": msgspec.json.encode(calibration),
        "model": model.state_dict(),
    }
    write_whole(path, partial(torch.save, state))


def load(path: Path) -> tuple[Config, Declip, Calibration]:
    """Raises ConfigError where `path` is no checkpoint of `save`."""
    try:
        state = torch.load(path, weights_only=True)
        config = msgspec.json.decode(state["config"], type=Config)
        calibration = msgspec.json.decode(state["calibration"], type=Calibration)
    except Exception as error:  # torch.load raises nearly anything
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{path} is not a checkpoint of python -m train.run: {why}") from error
    with TemporaryDirectory() as folder:
        (Path(folder) / f"{config.clip.model}.json").write_bytes(state["architecture"])
        logging.disable(logging.WARNING)  # open_clip warns of random weights; ours follow
        model = clip.load(msgspec.structs.replace(config.clip, pretrained=None), Path(folder), towers=False)
        logging.disable(logging.NOTSET)
    declip = build(config, model)
    if config.heads.laion is not None:
        declip.quality["aesthetic"] = LaionHead(dimension(config.clip.model))
    declip.load_state_dict(state["model"])
    return config, declip.eval(), calibration
