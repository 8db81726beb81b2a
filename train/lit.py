"""Stage 1: two pretrained towers become a CLIP, by locked-image tuning (arXiv 2111.07991).

The image tower and its projection are locked: the projection keeps the principal components of what the tower makes of
the photos. The text tower is locked, too, but for its projection, which learns to bring texts near their images.
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
from train.features import Encoder, Views
from train.i2t.manifest import Row
from train.loop import Stage, fit, key
from train.model import Declip
from train.objective import Objective
from train.tower import round_to_half

SAMPLE = 4096  # images that give the principal components
STEADY = 1e-3  # the least deviation of a feature, relative to the largest: what hardly moves is noise


class Joint(nn.Module):
    """A locked image projection beside the text projection and the scale that are learned."""

    def __init__(self, model: Declip) -> None:
        super().__init__()
        self.text, self.logit = model.clip.text.proj, model.clip.logit_scale
        for name, value in model.clip.visual.head.proj.named_parameters():
            self.register_buffer(name, value.data)  # the same memory: what is loaded here is in the model

    def spaces(self, images: Tensor) -> dict[str, Tensor]:
        return {"perceptual": images, "semantic": images}

    def words(self, sentences: Tensor) -> Tensor:
        return F.normalize(self.text(sentences), dim=-1)

    def scale(self) -> Tensor:
        return self.logit.exp()

    @torch.no_grad()
    def clamp(self) -> None:
        self.logit.clamp_(0, math.log(100))


def lock(model: Declip, config: Config, rows: list[Row], encode: Encoder, out: Path) -> None:
    """Gives the image tower its projection: the components of the images with texts, or what `out/clip.pt` holds.

    With 0 steps the model stays as it is. Raises ConfigError where it has no projections to learn.
    """
    if config.clip.steps:
        _check(model, config.clip.model)
        if _load(Joint(model), out) < 0:
            first = groups(rows, config.clip, config, encode)[0]
            components(model.clip.visual.head.proj, encode.views(first.items, first.name))


def train(model: Declip, config: Config, rows: list[Row], encode: Encoder, out: Path) -> None:
    """Joins the towers of a locked `model.clip` in place, resuming from `out/clip.pt`; 0 steps keep it as it is.

    Raises:
        ConfigError: rows or texts are missing, or a text is too long.
    """
    c = config.clip
    if c.steps == 0:
        return
    found = groups(rows, c, config, encode)
    joint = Joint(model)
    objective = Objective(joint, model, c.model, c, found, out / "features")
    for group in found:
        group.keep(encode(group.items, group.name))
    stage = Stage(
        name="clip",
        checkpoint=out / "clip.pt",
        model=joint,
        batches=lambda: Batches(found, objective.texts),
        images=sum(group.size for group in found),
        losses=objective,
        weights=objective.weights,
        key=key(c, config.views, config.features.jitters, encode.digest, rows),
        seed=config.seed,
        settle=joint.clamp,
    )
    fit(stage, msgspec.structs.replace(c, workers=0))
    model.clip.requires_grad_(False)


def restore(model: Declip, config: Config, out: Path) -> None:
    """Gives `model.clip` what `train` left in `out`. Raises ConfigError where it has not ended there."""
    if config.clip.steps:
        _check(model, config.clip.model)
        if _load(Joint(model), out) != config.clip.steps:
            raise ConfigError(f"stage 1 has not ended in {out}: python -m train.run does it, or set clip.steps = 0")
        model.clip.requires_grad_(False)


def _load(joint: Joint, out: Path) -> int:
    """Loads the averaged weights and returns after how many steps; -1 where there are none."""
    if not (out / "clip.pt").is_file():
        return -1
    state = torch.load(out / "clip.pt", weights_only=True, map_location="cpu")
    joint.load_state_dict(state["average"])
    return int(state["step"])


@torch.no_grad()
def components(proj: nn.Linear, views: Views) -> None:
    """Makes the projection (F to D) that of the D principal components of standardised features, in FP16's numbers.

    The spread of each component is kept, so that a linear head finds in them nearly all that the features tell.
    """
    items = [i for i in range(0, len(views), max(1, len(views) // SAMPLE)) if i not in views.failures]
    features = views[items].flatten(0, 1).to(parallel.device())
    mean, deviation = features.mean(0), features.std(0)
    deviation = deviation.clamp_min(STEADY * deviation.max())
    standard = (features - mean) / deviation
    vectors = torch.linalg.eigh(standard.T @ standard).eigenvectors  # in rising order
    basis = vectors.flip(1)[:, : proj.out_features].T  # (D, F)
    if len(basis) < proj.out_features:
        raise ConfigError(f"embed_dim is {proj.out_features}, more than the image tower's {len(basis)} features")
    basis *= torch.where(basis.sum(1, keepdim=True) < 0, -1.0, 1.0)  # an eigenvector's sign says nothing
    proj.weight.copy_(basis / deviation)
    round_to_half(proj)
    proj.bias.copy_(-(proj.weight @ mean.cpu()))


def _check(model: Declip, name: str) -> None:
    visual = model.clip.visual
    if not clip.has_projection(visual) or not isinstance(getattr(model.clip, "text", None), HFTextEncoder):
        raise ConfigError(
            f"clip.model {name!r} has no projections to learn: stage 1 joins a timm tower with "
            'timm_proj = "linear" and a Hugging Face text tower with hf_proj_type = "linear" or "mlp"; '
            "or set clip.steps = 0"
        )
    if visual.head.proj.bias is None:
        raise ConfigError(f"clip.model {name!r} needs timm_proj_bias = true in its JSON file")
    model.clip.text.proj.requires_grad_(True)
    model.clip.logit_scale.requires_grad_(True)
