"""Stage 1: an open_clip model, loaded with its weights, or trained contrastively from scratch."""

from __future__ import annotations

import math
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from open_clip import CLIP
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from scipy.stats import spearmanr
from torch import Tensor, nn

import train.tower
from declip_rt.errors import ConfigError
from declip_rt.images.views import write_views
from declip_rt.model.manifest import Placement, ViewSpec
from train import losses, texts
from train.batches import Batch, Batches
from train.config import ClipConfig
from train.loop import Stage, fit, key
from train.photos import photos


def load(config: ClipConfig, folder: Path) -> CLIP:
    """The open_clip model `config.model`; a JSON file of that name in `folder` adds a model configuration.

    Raises:
        ConfigError: open_clip has no such model or weights, or they do not fit each other.
    """
    if (custom := folder / f"{config.model}.json").is_file():
        open_clip.add_model_config(custom)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "QuickGELU mismatch")
            model = open_clip.create_model(config.model, pretrained=config.pretrained)
        _tokenizer(config.model)  # which may be missing too
        return model
    except UserWarning as mismatch:
        raise ConfigError(
            f"the weights {config.pretrained!r} have another activation than clip.model {config.model!r}; "
            "name the model with -quickgelu at its end, or without it"
        ) from mismatch
    except Exception as error:  # open_clip raises nearly anything
        reason, unknown, _ = str(error).partition(" Available")
        raise ConfigError(
            f"open_clip cannot make clip.model {config.model!r} with clip.pretrained {config.pretrained!r}: {reason}"
            f"{'; name one of open_clip.list_models(), or put its JSON file beside the TOML' if unknown else ''}"
        ) from error


def normalise(pixels: Tensor, model: CLIP) -> Tensor:
    """uint8 (N, S, S, 3) -> float (N, 3, S, S), as the model was trained to see it."""
    statistics = model.visual.image_mean, model.visual.image_std
    mean, std = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in statistics)
    return pixels.float().permute(0, 3, 1, 2) * (1 / (255 * std)) - mean / std


def encode_texts(model: CLIP, name: str, captions: list[str]) -> Tensor:
    """L2-normalised (N, D), on the model's device. Raises ConfigError where a text is longer than `name` reads."""
    fitting = fits(name, captions)
    if not fitting.all():
        raise ConfigError(f"{name} cannot read all of the text {captions[int(fitting.argmin())]!r}; shorten it")
    return F.normalize(model.encode_text(_tokenizer(name)(captions).to(model.logit_scale.device)), dim=-1)


def fits(name: str, captions: list[str]) -> NDArray[np.bool_]:
    """Which texts (N,) are no longer than the model's context. open_clip cuts the others off, and does not say so."""
    tokenizer = _tokenizer(name)

    def count(length: int) -> Tensor:
        tokens = tokenizer([*captions, ""], length)
        return (tokens[:-1] != tokens[-1]).sum(1)

    return (count(tokenizer.context_length) == count(2 * tokenizer.context_length)).numpy()


def last_blocks(visual: nn.Module, count: int) -> list[nn.Parameter]:
    """The parameters of an image tower's last `count` blocks, and of all that follows them.

    Raises:
        ConfigError: the tower has fewer blocks, or none that this function knows.
    """
    owner = getattr(visual, "trunk", visual)  # timm's
    parts = dict(owner.named_children())  # in their order of use
    if "layer4" in parts:  # a ResNet names its blocks one by one
        last, blocks = "layer4", [parts[f"layer{i}"] for i in range(1, 5)]
    elif last := next((name for name in ("transformer", "blocks", "stages", "layers") if name in parts), ""):
        blocks = list(getattr(parts[last], "resblocks", parts[last]))
    else:
        raise ConfigError(f"the blocks of {type(owner).__name__} are not known; set declip.unfreeze = 0")
    if count > len(blocks):
        raise ConfigError(f"declip.unfreeze is {count}, but {type(owner).__name__} has {len(blocks)} blocks")
    modules = [*blocks[len(blocks) - count :], *list(parts.values())[list(parts).index(last) + 1 :]]
    if owner is not visual:
        modules.append(visual.head)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return parameters + [p for name, p in visual.named_parameters(recurse=False) if name == "proj"]


@cache
def _tokenizer(name: str) -> HFTokenizer | SimpleTokenizer:
    return open_clip.get_tokenizer(name)


def train(config: ClipConfig, folder: Path, data: Path | None, out: Path, seed: int) -> CLIP:
    """Trains for `config.steps`, resuming from `out/clip.pt` where it exists; the same seed gives the same weights.

    Without `data` the training must have ended. Raises ConfigError.
    """
    torch.manual_seed(seed)
    model = load(config, folder).to(memory_format=torch.channels_last)
    if config.steps == 0:
        return model

    @torch.no_grad()
    def clamp() -> None:
        model.logit_scale.clamp_(0, math.log(100))

    def batches() -> Batches:
        if data is None:
            raise ConfigError(f"stage 1 has not ended in {out}: python -m train.run does it, or set clip.steps = 0")
        return Batches(data, config, seed)

    stage = Stage(
        name="clip",
        checkpoint=out / "clip.pt",
        model=model.train(),
        batches=batches,
        images=config.photos * config.variants + config.mos_photos + config.beauty_photos,
        losses=lambda batch: _losses(model, config, batch),
        weights={"pairs": 1.0, "mos": config.mos_weight, "beauty": config.beauty_weight},
        key=key(config, seed),
        seed=seed,
        settle=clamp,
        report=lambda: f"zero-shot SRCC on the MOS val split {zero_shot_srcc(model, config.model, data):.3f}",
    )
    fit(stage, config)
    return model


def _losses(model: CLIP, config: ClipConfig, batch: Batch) -> dict[str, Tensor]:
    device = model.logit_scale.device
    mos, beauty = (torch.from_numpy(levels).to(device) for levels in (batch.mos, batch.beauty))
    image = F.normalize(model.encode_image(normalise(torch.from_numpy(batch.pixels).to(device), model)), dim=-1)
    unique, which = np.unique(batch.captions, return_inverse=True)
    text = encode_texts(model, config.model, [*unique, *texts.QUALITY, *texts.BEAUTY])
    pairs, quality, ugly_to_beautiful = text.split([len(unique), len(texts.QUALITY), len(texts.BEAUTY)])
    positives = (torch.from_numpy(which)[:, None] == torch.arange(len(unique))).to(device)
    distorted, scored, liked = image.split([len(batch.captions), len(mos), len(beauty)])
    scale = model.logit_scale.exp()
    return {
        "pairs": losses.contrastive(distorted, pairs, positives, scale),
        "mos": losses.levels(scored, quality, mos, scale),
        "beauty": losses.levels(liked, ugly_to_beautiful, beauty, scale),
    }


@torch.no_grad()
def zero_shot_srcc(model: CLIP, name: str, data: Path) -> float:
    """SRCC of the expected quality level with the MOS, on the val split, from one central crop of its own size."""
    model.eval()
    device = model.logit_scale.device
    quality = encode_texts(model, name, list(texts.QUALITY))
    size = int(np.ravel(model.visual.image_size)[0])
    spec = ViewSpec(size, (Placement(1 << 20),))  # at the photo's own resolution
    levels, scores = [], []
    for photo in photos(data, "mos", "val"):
        view = np.zeros(spec.shape, np.uint8)
        write_views(photo.read(), spec, view)
        pixels = torch.from_numpy(view).to(device)
        feature = F.normalize(model.encode_image(normalise(pixels, model)), dim=-1)
        share = (model.logit_scale.exp() * feature @ quality.T).softmax(-1).cpu()
        levels.append((share @ torch.arange(5.0)).item())
        scores.append(photo.score)
    model.train()
    return float(spearmanr(levels, scores).statistic)
