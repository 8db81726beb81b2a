"""Stage 1: two pretrained towers become a CLIP (locked-image tuning, arXiv 2111.07991).

Both towers stay as they are. Their projections into the common space are learned, on features that are computed once.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import torch
import torch.nn.functional as F
from open_clip.hf_model import HFTextEncoder
from torch import Tensor, nn

from declip_rt.errors import ConfigError
from train import clip, parallel
from train.batches import Batches, groups
from train.config import Config
from train.features import Encoder
from train.i2t.manifest import Row
from train.loop import Stage, fit, key
from train.model import Declip
from train.objective import Objective
from train.tower import round_to_half

SAMPLE = 4096  # items that give the mean and the deviation of the image tower's features
STEADY = 1e-3  # the least deviation, relative to the largest: what hardly moves is noise


class Projections(nn.Module):
    """The projections of both towers. Image features are standardised before theirs, so that all learn at one rate."""

    mean: Tensor  # (F,)
    deviation: Tensor  # (F,)

    def __init__(self, model: Declip, dropout: float) -> None:
        super().__init__()
        self.head, self.text, self.logit = model.clip.visual.head, model.clip.text.proj, model.clip.logit_scale
        self.drop = nn.Dropout(dropout)
        self.register_buffer("mean", torch.zeros(self.head.proj.in_features))
        self.register_buffer("deviation", torch.ones(self.head.proj.in_features))
        self.model = [model]  # in a list: its weights are not this module's

    def standardise(self, views: Tensor) -> None:
        """Takes mean and deviation from views (N, V, F)."""
        flat = views.flatten(0, 1)
        self.mean.copy_(flat.mean(0))
        deviation = flat.std(0)
        self.deviation.copy_(deviation.clamp_min(STEADY * deviation.max()))

    def spaces(self, images: Tensor) -> dict[str, Tensor]:
        coarse = self.model[0].pool(self.drop((images - self.mean) / self.deviation))
        return {"perceptual": coarse, "semantic": coarse}

    def words(self, sentences: Tensor) -> Tensor:
        return F.normalize(self.text(sentences), dim=-1)

    def scale(self) -> Tensor:
        return self.logit.exp()

    @torch.no_grad()
    def fold(self) -> None:
        """Puts the standardisation into the image projection, in place, whose weights are then such as FP16 holds."""
        proj = self.head.proj
        proj.weight.div_(self.deviation)
        round_to_half(proj)
        proj.bias.sub_(proj.weight @ self.mean)

    @torch.no_grad()
    def clamp(self) -> None:
        self.logit.clamp_(0, math.log(100))


def train(model: Declip, config: Config, rows: list[Row], encode: Encoder, out: Path) -> None:
    """Learns the projections of `model.clip` in place, resuming from `out/clip.pt`; 0 steps keep the model as it is.

    Raises:
        ConfigError: rows or texts are missing, a text is too long, or the model has no projections to learn.
    """
    c = config.clip
    if c.steps == 0:
        return
    sides = _projections(model, config)
    found = groups(rows, c, config, encode)
    objective = Objective(sides, model, c.model, c, found, out / "features")
    for group in found:
        group.keep(encode.views(group.items, group.name))
    sample = found[0].usable[:: max(1, len(found[0].usable) // SAMPLE)]
    sides.standardise(found[0].images(sample)[0])
    stage = Stage(
        name="clip",
        checkpoint=out / "clip.pt",
        model=sides,
        batches=lambda: Batches(found, objective.texts),
        images=sum(group.size for group in found),
        losses=objective,
        weights=objective.weights,
        key=key(c, config.views, config.features.jitters, encode.digest, rows),
        seed=config.seed,
        settle=sides.clamp,
    )
    fit(stage, msgspec.structs.replace(c, workers=0))
    sides.eval().fold()
    model.clip.requires_grad_(False)


def restore(model: Declip, config: Config, out: Path) -> None:
    """Gives `model.clip` the projections that `train` left in `out`. Raises ConfigError where it has not ended."""
    if config.clip.steps == 0:
        return
    sides, file = _projections(model, config), out / "clip.pt"
    state = torch.load(file, weights_only=True, map_location="cpu") if file.is_file() else {"step": -1}
    if state["step"] != config.clip.steps:
        raise ConfigError(f"stage 1 has not ended in {out}: python -m train.run does it, or set clip.steps = 0")
    sides.load_state_dict(state["average"])
    sides.fold()
    model.clip.requires_grad_(False)


def _projections(model: Declip, config: Config) -> Projections:
    clip_model = model.clip
    if not clip.has_projection(clip_model.visual) or not isinstance(getattr(clip_model, "text", None), HFTextEncoder):
        raise ConfigError(
            f"clip.model {config.clip.model!r} has no projections to learn: stage 1 joins a timm tower with "
            'timm_proj = "linear" and a Hugging Face text tower with hf_proj_type = "linear"; or set clip.steps = 0'
        )
    if clip_model.visual.head.proj.bias is None:
        raise ConfigError(f"clip.model {config.clip.model!r} needs timm_proj_bias = true in its JSON file")
    for part in (clip_model.visual.head, clip_model.text.proj):
        part.requires_grad_(True)
    clip_model.logit_scale.requires_grad_(True)
    return Projections(model, config.clip.dropout).to(parallel.device())
