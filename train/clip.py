"""CLIP: the open_clip model, its pretrained towers, and what is locked and what is learned in it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from open_clip import CLIP
from open_clip.hf_model import HFTextEncoder
from open_clip.timm_model import TimmModel
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor, nn
from transformers.utils import logging as hf_logging

from declip_rt.errors import ConfigError, DeclipError
from train import tower
from train.config import ClipConfig
from train.pretrained import PACKAGES

HUGGING_FACE = ("hf_model_name", "hf_tokenizer_name")  # where an architecture may name a package of PACKAGES


def load(config: ClipConfig, folder: Path, towers: bool = True) -> CLIP:
    """The open_clip model `config.model`; a JSON file of that name in `folder` adds an architecture.

    towers: whether image towers of tower.py get their pretrained weights; text towers of PACKAGES always do.

    Raises:
        ConfigError: open_clip has no such model or weights, they do not fit each other, or a package is missing.
    """
    if (custom := folder / f"{config.model}.json").is_file():
        _add(config.model, json.loads(custom.read_bytes()))
    hf_logging.set_verbosity_error()  # it warns of the pooling layer, which open_clip leaves out
    hf_logging.disable_progress_bar()
    look = tower.LOOKS.get(_vision(config.model))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "QuickGELU mismatch")
            model = open_clip.create_model(
                config.model,
                pretrained=config.pretrained,
                pretrained_image=towers and look is not None and config.pretrained is None,
                force_preprocess_cfg=look and {"mean": look[0], "std": look[1]},
            )
        _tokenizer(config.model)  # which may be missing too
        return model.to(memory_format=torch.channels_last)  # faster on CPUs
    except UserWarning as mismatch:
        raise ConfigError(
            f"the weights {config.pretrained!r} have another activation than clip.model {config.model!r}; "
            "name the model with -quickgelu at its end, or without it"
        ) from mismatch
    except DeclipError:
        raise
    except Exception as error:  # open_clip raises nearly anything
        reason, unknown, _ = str(error).partition(" Available")
        raise ConfigError(
            f"open_clip cannot make clip.model {config.model!r} with clip.pretrained {config.pretrained!r}: {reason}"
            f"{'; name one of open_clip.list_models(), or put its JSON file beside the TOML' if unknown else ''}"
        ) from error


def architecture(name: str) -> dict[str, Any]:
    """The open_clip model's configuration, with packages by their names: it holds on any machine."""
    found = open_clip.get_model_config(name)
    paths = {str(package.path().parent): known for known, package in PACKAGES.items() if package.installed}
    text = found["text_cfg"]
    found["text_cfg"] = text | {key: paths.get(text[key], text[key]) for key in HUGGING_FACE if key in text}
    return found


def _add(name: str, architecture: dict[str, Any]) -> None:
    """Makes an architecture known to open_clip; packages that it names become paths."""
    text = architecture["text_cfg"]
    for key in HUGGING_FACE:
        if text.get(key) in PACKAGES:
            text[key] = str(PACKAGES[text[key]].path().parent)
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.json"
        file.write_text(json.dumps(architecture))
        open_clip.add_model_config(file)
    _tokenizer.cache_clear()


def _vision(name: str) -> str:
    return str((open_clip.get_model_config(name) or {}).get("vision_cfg", {}).get("timm_model_name", ""))


def normalise(pixels: Tensor, model: CLIP) -> Tensor:
    """uint8 (N, S, S, 3) -> float (N, 3, S, S), as the model was trained to see it."""
    statistics = model.visual.image_mean, model.visual.image_std
    mean, std = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in statistics)
    return pixels.float().permute(0, 3, 1, 2) * (1 / (255 * std)) - mean / std


def has_projection(visual: nn.Module) -> bool:
    """Whether the image tower is a network of timm and a projection behind it."""
    return isinstance(visual, TimmModel) and len(visual.head) > 0


def locked_image(model: CLIP) -> nn.Module:
    """The part of the image tower that stage 1 leaves as it is: all before the projection, or the whole."""
    return model.visual.trunk if has_projection(model.visual) else model.visual


def locked_text(model: CLIP) -> Iterator[Tensor]:
    """The weights of the text tower that stage 1 leaves as they are."""
    learned = {value.data_ptr() for value in _projections(model)}
    parts = ((name, value) for name, value in model.state_dict().items() if not name.startswith("visual."))
    return (value for name, value in parts if value.data_ptr() not in learned and name != "logit_scale")


def learned(model: CLIP) -> list[Tensor]:
    """The weights that stage 1 learns: both projections and the scale."""
    head = model.visual.head.state_dict().values() if has_projection(model.visual) else ()
    return [*head, *_projections(model), model.logit_scale.detach()]


def _projections(model: CLIP) -> list[Tensor]:
    text = getattr(model, "text", None)
    return list(text.proj.state_dict().values()) if isinstance(text, HFTextEncoder) else []


@torch.no_grad()
def sentences(model: CLIP, name: str, captions: list[str]) -> Tensor:
    """What the locked part of the text tower makes of texts: (N, W), on the model's device.

    Raises:
        ConfigError: a text is longer than `name` reads.
    """
    fitting = fits(name, captions)
    if not fitting.all():
        raise ConfigError(f"{name} cannot read all of the text {captions[int(fitting.argmin())]!r}; shorten it")
    tokens = _tokenizer(name)(captions).to(model.logit_scale.device)
    text = getattr(model, "text", None)
    if not isinstance(text, HFTextEncoder):
        return F.normalize(model.encode_text(tokens), dim=-1)
    tokens = tokens[:, : int((tokens != text.config.pad_token_id).sum(1).max())]  # padding takes time
    seen = (tokens != text.config.pad_token_id).long()
    return text.pooler(text.transformer(input_ids=tokens, attention_mask=seen), seen)


def project(model: CLIP, sentences: Tensor) -> Tensor:
    """`sentences` (N, W) -> the texts' features (N, D), L2-normalised."""
    text = getattr(model, "text", None)
    return F.normalize(text.proj(sentences) if isinstance(text, HFTextEncoder) else sentences, dim=-1)


def encode_texts(model: CLIP, name: str, captions: list[str]) -> Tensor:
    """L2-normalised (N, D), on the model's device. Raises ConfigError where a text is longer than `name` reads."""
    return project(model, sentences(model, name, captions))


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
