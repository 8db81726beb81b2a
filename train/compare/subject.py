"""The model that is compared with CLIP, and the photos that it is compared on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from train import clip, probe
from train.config import Config
from train.distortions import KINDS, STRENGTHS, Distortion
from train.features import Encoder, Item
from train.i2t.manifest import Row
from train.model import Declip
from train.rated import rows

SPACES = ("coarse", "perceptual", "semantic")
VARIANTS = {"train": 12, "test": 4}  # of each pristine photo, for the probes of distortion and content


@dataclass(frozen=True)
class Subject:
    """A model, and the encoder that keeps its coarse features."""

    config: Config
    model: Declip
    encode: Encoder
    data: Path

    def coarse(self, items: list[Item], what: str) -> Tensor:
        """(N, D), in the order of the items."""
        stored = self.encode(items, what)
        return stored[range(len(items))]

    @torch.no_grad()
    def spaces(self, coarse: Tensor) -> dict[str, probe.Features]:
        """The three features (N, D) of each photo."""
        made = {"coarse": coarse, "perceptual": self.model.perceptual(coarse), "semantic": self.model.semantic(coarse)}
        return {space: feature.numpy() for space, feature in made.items()}

    @torch.no_grad()
    def prompts(self, pairs: Iterable[tuple[str, str]]) -> tuple[probe.Features, probe.Features]:
        """The text features (P, D) of the first and the second prompts: low and high, as in `probe.lean`."""
        first, second = zip(*pairs, strict=True)
        name = self.config.clip.model
        return tuple(clip.encode_texts(self.model.clip, name, list(side)).numpy() for side in (first, second))  # type: ignore[return-value]


def variants(data: Path, split: str) -> list[Item]:
    """Each pristine photo of the split with some single distortions of whole strengths."""
    rng = np.random.default_rng((len(split), 5))
    items = []
    for row in rows(data, "pristine", split):
        for kind in rng.choice(list(KINDS), VARIANTS[split], replace=False):
            edit = Distortion(str(kind), float(rng.choice(STRENGTHS)))
            items.append(Item(Row(row.image, edits=(edit,), seed=int(rng.integers(2**32)))))
    return items


def series(data: Path, split: str, kind: str, count: int) -> list[Item]:
    """The first pristine photos of the split, each without the distortion and with it at the five strengths."""
    edits = [(), *((Distortion(kind, strength),) for strength in STRENGTHS)]
    listed = rows(data, "pristine", split)[:count]
    return [Item(Row(row.image, edits=edit, seed=i)) for i, row in enumerate(listed) for edit in edits]
