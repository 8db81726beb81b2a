"""Stage 1: an open_clip model, loaded with its weights, or trained contrastively from scratch."""

from __future__ import annotations

import logging
import math
import time
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip import CLIP
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from scipy.stats import spearmanr
from torch import Tensor
from torch.utils.data import DataLoader

import train.tower
from declip_rt.bundle import Placement, ViewSpec
from declip_rt.views import write_views
from train import losses, texts
from train.batches import Batch, Batches
from train.config import ClipConfig
from train.photos import photos

log = logging.getLogger("train.clip")
EVERY, SAVE = 20, 200  # steps


def load(config: ClipConfig, folder: Path) -> CLIP:
    """The open_clip model `config.model`; a JSON file of that name in `folder` adds a model configuration."""
    if (custom := folder / f"{config.model}.json").is_file():
        open_clip.add_model_config(custom)
    model, _, _ = open_clip.create_model_and_transforms(config.model, pretrained=config.pretrained)
    return model


def normalise(pixels: Tensor, model: CLIP) -> Tensor:
    """uint8 (N, S, S, 3) -> float (N, 3, S, S), as the model was trained to see it."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.visual.image_mean, model.visual.image_std))
    return pixels.float().permute(0, 3, 1, 2) * (1 / (255 * std)) - mean / std


def encode_texts(model: CLIP, name: str, captions: list[str]) -> Tensor:
    """L2-normalised (N, D)."""
    return F.normalize(model.encode_text(_tokenizer(name)(captions)), dim=-1)


@cache
def _tokenizer(name: str) -> HFTokenizer | SimpleTokenizer:
    return open_clip.get_tokenizer(name)


def train(config: ClipConfig, folder: Path, data: Path, out: Path, seed: int) -> CLIP:
    """Trains for `config.steps`, resuming from `out/clip.pt` where it exists; the same seed gives the same weights."""
    torch.manual_seed(seed)
    model = load(config, folder).to(memory_format=torch.channels_last)
    if config.steps == 0:
        return model
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}], lr=config.lr
    )
    start = 0
    if (checkpoint := out / "clip.pt").is_file():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
        log.info("resumed at step %d", start)
    if start >= config.steps:
        return model
    batches = Batches(data, config, seed)
    loader = DataLoader(batches, batch_size=None, sampler=range(start, config.steps), num_workers=1, prefetch_factor=4)
    model.train()
    began, seen = time.monotonic(), 0
    for step, batch in enumerate(loader, start):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * _schedule(step, config)
        parts = _losses(model, config, batch)
        loss = parts["pairs"] + config.mos_weight * parts["mos"] + config.beauty_weight * parts["beauty"]
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss became {loss.item()} at step {step}; lower clip.lr in the config")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        seen += len(batch.pixels)
        if (step + 1) % EVERY == 0:
            figures = " ".join(f"{name} {part.item():.3f}" for name, part in parts.items())
            log.info("step %d/%d %s %.0f images/s", step + 1, config.steps, figures, seen / (time.monotonic() - began))
        if (step + 1) % SAVE == 0 or step + 1 == config.steps:
            _save(checkpoint, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1})
            log.info(
                "step %d: zero-shot SRCC on the MOS val split %.3f", step + 1, zero_shot_srcc(model, config.model, data)
            )
    return model


def _losses(model: CLIP, config: ClipConfig, batch: Batch) -> dict[str, Tensor]:
    image = F.normalize(model.encode_image(normalise(torch.from_numpy(batch.pixels), model)), dim=-1)
    unique, which = np.unique(batch.captions, return_inverse=True)
    text = encode_texts(model, config.model, [*unique, *texts.QUALITY, *texts.BEAUTY])
    pairs, quality, beauty = text.split([len(unique), 5, 5])
    positives = torch.from_numpy(which)[:, None] == torch.arange(len(unique))
    distorted, scored, liked = image.split([len(batch.captions), len(batch.mos), len(batch.beauty)])
    scale = model.logit_scale.exp()
    return {
        "pairs": losses.contrastive(distorted, pairs, positives, scale),
        "mos": losses.levels(scored, quality, torch.from_numpy(batch.mos), scale),
        "beauty": losses.levels(liked, beauty, torch.from_numpy(batch.beauty), scale),
    }


def _schedule(step: int, config: ClipConfig) -> float:
    if step < config.warmup:
        return (step + 1) / config.warmup
    return 0.5 + 0.5 * math.cos(math.pi * (step - config.warmup) / max(1, config.steps - config.warmup))


def _save(path: Path, state: dict[str, object]) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


@torch.no_grad()
def zero_shot_srcc(model: CLIP, name: str, data: Path) -> float:
    """SRCC of the expected quality level with the MOS, on the val split, from one central crop of its own size."""
    model.eval()
    quality = encode_texts(model, name, list(texts.QUALITY))
    spec = ViewSpec(model.visual.image_size[0], (Placement(1 << 20),))  # at the photo's own resolution
    levels, scores = [], []
    for photo in photos(data, "mos", "val"):
        view = np.zeros(spec.shape, np.uint8)
        write_views(photo.read(), spec, view)
        feature = F.normalize(model.encode_image(normalise(torch.from_numpy(view), model)), dim=-1)
        share = (model.logit_scale.exp() * feature @ quality.T).softmax(-1)
        levels.append((share @ torch.arange(5.0)).item())
        scores.append(photo.score)
    model.train()
    return float(spearmanr(levels, scores).statistic)
