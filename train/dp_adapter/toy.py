"""A base that is small enough to be trained here: it draws the photos of an album, each by a word of its own.

Stable Diffusion's parts in little: the UNet and the scheduler are diffusers' own, a fixed codec stands for the
autoencoder, and a table of words for the text encoder. As captions do, texts also tell how a picture looks, roughly: a
word of a few for each of TOLD.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError
from train import parallel
from train.distortions import RGB
from train.dp_adapter import diffusion
from train.dp_adapter.album import Album
from train.dp_adapter.codec import BLOCK, CHANNELS, Codec
from train.dp_adapter.config import ToyConfig
from train.dp_adapter.looks import Look
from train.loop import Stage, fit, key

FILE = "toy.pt"
TOLD = ("luminance", "colorfulness", "sharpness", "noise")  # of a look
LEVELS = 4  # words for each


class Toy(nn.Module):
    """Takes what an SD pipeline takes, but for the text: words are numbers of photos, None is the empty text."""

    name = "toy"

    def __init__(self, config: ToyConfig, photos: int, side: int) -> None:
        super().__init__()
        if side % (step := BLOCK * 2 ** (len(config.channels) - 1)):
            raise ConfigError(f"album.side is {side}; this base takes multiples of {step}")
        self.config, self.photos = config, photos
        self.codec = Codec()
        self.words = nn.Embedding(photos + 1, config.tokens * config.width)  # the last is no word
        self.looks = nn.Embedding(len(TOLD) * (LEVELS + 1), config.width)  # of each of TOLD, too
        self.unet = UNet2DConditionModel(
            sample_size=side // BLOCK,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            block_out_channels=config.channels,
            down_block_types=("CrossAttnDownBlock2D",) * len(config.channels),
            up_block_types=("CrossAttnUpBlock2D",) * len(config.channels),
            layers_per_block=1,
            cross_attention_dim=config.width,
            attention_head_dim=4,
            norm_num_groups=16,
        )
        self.scheduler = DDIMScheduler(
            beta_schedule="squaredcos_cap_v2",
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,  # else no picture is dark or bright as a whole
            timestep_spacing="trailing",
            clip_sample=False,
            steps_offset=1,
        )

    def decode(self, latents: Tensor) -> list[RGB]:
        pixels = (self.codec.decode(latents.cpu().float()).clamp(-1, 1) + 1) * 127.5
        return list(pixels.round().to(torch.uint8).permute(0, 2, 3, 1).numpy())

    def condition(self, words: Sequence[int | None]) -> dict[str, Any]:
        """What the UNet takes beside latents and times; nothing is told of looks."""
        photos = torch.tensor([self.photos if word is None else word for word in words])
        return {"encoder_hidden_states": self.tokens(photos, torch.full((len(words), len(TOLD)), LEVELS))}

    def tokens(self, photos: Tensor, levels: Tensor) -> Tensor:
        """Numbers of photos (N,), and levels (N, len(TOLD)) -> (N, tokens + len(TOLD), C)."""
        device = self.words.weight.device
        shown = self.words(photos.to(device)).unflatten(1, (self.config.tokens, -1))
        return torch.cat([shown, self.looks((levels + torch.arange(len(TOLD)) * (LEVELS + 1)).to(device))], 1)

    def save(self, folder: Path) -> None:
        """Writes the UNet and the scheduler as diffusers does, and the rest beside them."""
        self.unet.save_pretrained(folder / "unet")
        self.scheduler.save_pretrained(folder / "scheduler")
        state = {name: getattr(self, name).state_dict() for name in ("codec", "words", "looks")}
        write_whole(folder / FILE, partial(torch.save, state))


def train(album: Album, pictures: Tensor, config: ToyConfig, seed: int, out: Path) -> Toy:
    """A base that draws the album's photos under the looks that may be learnt; kept in `out/base.pt` and `out/base`.

    pictures: of the album, (N, 3, S, S) in [-1, 1].
    """
    torch.manual_seed(seed)
    toy = Toy(config, len(album.rows), album.config.side)
    toy.codec = Codec.of(pictures)
    latents = toy.codec.encode(pictures)
    stage = Stage(
        name="base",
        checkpoint=out / "base.pt",
        model=toy,
        batches=lambda: Batches(album, latents, config, seed),
        images=config.batch,
        losses=lambda batch: {"diffusion": _loss(toy, config, batch) / parallel.world()},
        weights={"diffusion": 1.0},
        key=key(config, album.key, seed),
        seed=seed,
    )
    fit(stage, config)
    if parallel.rank() == 0 and not (out / "base").exists():
        toy.save(out / "base")
    return toy.eval()


class Batches(Dataset[dict[str, Tensor]]):
    """Batch i: latents of the looks that may be learnt, the photos' words, noise and times."""

    def __init__(self, album: Album, latents: Tensor, config: ToyConfig, seed: int) -> None:
        self.album, self.latents, self.config, self.seed = album, latents, config, seed
        self.levels = _levels([album.looks[look] for look in album.learnt])

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        rng, config = np.random.default_rng((self.seed, i * parallel.world() + parallel.rank())), self.config
        photo = rng.integers(len(self.album.rows), size=config.batch)
        look = rng.integers(len(self.album.learnt), size=config.batch)
        words = np.where(rng.random(config.batch) < config.wordless, len(self.album.rows), photo)
        untold = rng.random((config.batch, 1)) < config.wordless
        levels = np.where(untold, LEVELS, self.levels[look])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        latents = self.latents[self.album.number(photo, look)]
        return {
            "latents": latents,
            "words": torch.from_numpy(words),
            "levels": torch.from_numpy(levels),
            "noise": torch.randn(latents.shape, generator=generator),
            "time": diffusion.times(config.batch, 1000, config.shift, generator),
        }


def _levels(looks: Sequence[Look]) -> NDArray[np.intp]:
    """For each look and each of TOLD, the word: as many looks have one as another."""
    values = np.array([[getattr(look, name) for name in TOLD] for look in looks])
    return values.argsort(0, kind="stable").argsort(0, kind="stable") * LEVELS // len(looks)


def _loss(toy: Toy, config: ToyConfig, batch: dict[str, Tensor]) -> Tensor:
    latents, noise, time = (batch[name].to(toy.unet.device) for name in ("latents", "noise", "time"))
    noised = toy.scheduler.add_noise(latents, noise, time)
    said = toy.unet(noised, time, toy.tokens(batch["words"], batch["levels"])).sample
    wanted = diffusion.target(toy.scheduler, latents, noise, time)
    return diffusion.error(toy.scheduler, said, wanted, time, config.snr)
