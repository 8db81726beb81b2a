"""Albums of photos that are made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from train.dp_adapter.config import AdapterConfig, AlbumConfig, Config, ToyConfig
from train.dp_adapter.sources import Source
from train.i2t.manifest import Row

COUNT = 5


def source(folder: Path) -> Source:
    """COUNT photos of coloured blocks, and a variant of the first."""
    for seed in range(COUNT):
        blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(blocks).resize((48, 40), Image.Resampling.NEAREST).save(folder / f"photo{seed}.png")
    rows = tuple(Row(f"photo{seed}.png", semantic=(f"blocks {'abcde'[seed]}",)) for seed in range(COUNT))
    return Source(rows, folder)


def config(**adapters: object) -> Config:
    """A training of seconds."""
    return Config(
        AlbumConfig(photos=4, side=16, looks=6, held_out=2),
        ToyConfig(steps=4, batch=4, channels=(16, 32), width=16, tokens=2, workers=0, save_every=2),
        AdapterConfig(**{"steps": 4, "batch": 4, "workers": 0, "save_every": 2, "lr": 1e-2} | adapters),
    )
