"""Photos under looks: every photo of the album under every look, with features, made once and kept on disk."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from declip_rt.errors import ConfigError
from train.distortions import RGB
from train.dp_adapter.config import AlbumConfig
from train.dp_adapter.encoder import Encoder
from train.dp_adapter.looks import Look, Pixels, dress
from train.dp_adapter.sources import Source
from train.features import Stored, store
from train.i2t.manifest import Images, Row

log = logging.getLogger("train.dp_adapter")
BLOCK = 64  # pictures that are held at once


@dataclass(frozen=True)
class Album:
    """Picture `number(photo, look)` is a photo under a look; the last `held_out` looks are for evaluation alone."""

    config: AlbumConfig
    rows: tuple[Row, ...]
    images: Images
    seed: int

    def __post_init__(self) -> None:
        if len(self.rows) < 2:
            raise ConfigError(f"the album has {len(self.rows)} photos; crossed pairs need two at least")
        if not 2 <= self.config.held_out <= self.config.looks - 2:
            raise ConfigError(
                f"album.held_out is {self.config.held_out} of {self.config.looks} looks; leave two on each side"
            )

    @classmethod
    def of(cls, source: Source, config: AlbumConfig, seed: int) -> Album:
        """With `config.photos` of the source's, drawn by the seed; variants of a photo are no photos."""
        whole = [row for row in source.rows if not row.edits and config.named in row.image]
        images = Images(source.folder)
        if config.photos is None:
            return cls(config, tuple(whole), images, seed)
        if len(whole) < config.photos:
            raise ConfigError(f"album.photos is {config.photos}, but there are {len(whole)} such photos; give more")
        drawn = np.random.default_rng((seed, 1)).permutation(len(whole))[: config.photos]
        return cls(config, tuple(whole[i] for i in drawn), images, seed)

    def __len__(self) -> int:
        return len(self.rows) * self.config.looks

    @cached_property
    def key(self) -> str:
        """Names its pictures."""
        return hashlib.sha256(msgspec.json.encode((self.config, self.rows, self.seed))).hexdigest()[:16]

    def number(self, photo: NDArray[np.intp], look: NDArray[np.intp]) -> NDArray[np.intp]:
        return photo * self.config.looks + look

    @property
    def learnt(self) -> range:
        """The looks to learn from."""
        return range(self.config.looks - self.config.held_out)

    @property
    def held_out(self) -> range:
        return range(self.config.looks - self.config.held_out, self.config.looks)

    @cached_property
    def looks(self) -> tuple[Look, ...]:
        rng = np.random.default_rng((self.seed, 2))
        return tuple(Look.draw(rng, self.config.side) for _ in range(self.config.looks))

    def pictures(self, numbers: Sequence[int]) -> list[RGB]:
        """Pictures (S, S, 3)."""
        made, photos = [], {}
        for number in numbers:
            photo, look = divmod(int(number), self.config.looks)
            if photo not in photos:
                photos = {photo: squared(self.images.open(self.rows[photo]), self.config.side)}
            made.append(dress(photos[photo], self.looks[look], np.random.default_rng((self.seed, photo, look))))
        return made

    def features(self, encoder: Encoder, folder: Path) -> dict[str, Tensor]:
        """Features (N, D) by their names, N = len(self), kept in `folder`."""
        widths = encoder.widths

        def make(some: Sequence[RGB]) -> Tensor:
            found = encoder(some)
            return torch.cat([found[name] for name in widths], 1)

        whole = self.kept(make, folder / f"{self.key}-{encoder.bundle.hash[:16]}", "features")[range(len(self))]
        return dict(zip(widths, whole.split(list(widths.values()), 1), strict=True))

    def kept(self, make: Callable[[Sequence[RGB]], Tensor], folder: Path, what: str) -> Stored:
        """What `make` says of each picture, (N, F), kept in `folder`."""

        def shard(span: range) -> tuple[Tensor, dict[int, str]]:
            parts = []
            for first in range(span.start, span.stop, BLOCK):
                parts.append(make(self.pictures(range(first, min(first + BLOCK, span.stop)))))
                if first // BLOCK % 16 == 0:
                    log.info("%s: picture %d of %d", what, first, len(self))
            return torch.cat(parts), {}

        return store(folder, len(self), shard)


def squared(rgb: RGB, side: int) -> Pixels:
    """The middle square of a photo, by means over areas: (side, side, 3) in [0, 1]."""
    height, width = rgb.shape[:2]
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    square = Image.fromarray(rgb[top : top + least, left : left + least])
    return np.asarray(square.resize((side, side), Image.Resampling.BOX), np.float32) / 255
