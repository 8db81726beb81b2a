"""Which picture is drawn, and which ones are its references.

Crossed pairs: the target is look k of photo i. Its perceptual reference is look k of another photo, its semantic one is
photo i under another look. So neither shows what the other is for, and copying does not help. Self pairs, as of
IP-Adapter: the target is each of its own references.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.dp_adapter.album import Album
from train.dp_adapter.config import Pairing

Numbers = NDArray[np.intp]  # (B,) pictures of an album
Present = NDArray[np.bool_]  # (B,)


@dataclass(frozen=True)
class Pairs:
    """Pictures of an album by their numbers."""

    target: Numbers
    perceptual: Numbers
    semantic: Numbers


@dataclass(frozen=True)
class System:
    """What is compared: how references become the features that adapters read, and on which pairs they learn.

    reads: for each adapter a feature's name, and the references that it is taken from, whose mean is read.
    """

    reads: tuple[tuple[str, tuple[str, ...]], ...]
    pairs: Pairing = "crossed"

    def features(
        self, features: dict[str, Tensor], pairs: Pairs, present: dict[str, Present] | None = None
    ) -> list[Tensor]:
        """What each adapter reads, (B, 1, D); zeros where none of its references is present."""
        read = []
        for name, references in self.reads:
            parts = [features[name][getattr(pairs, reference)] for reference in references]
            there = [
                torch.from_numpy(present[reference]) if present else torch.ones(len(part), dtype=torch.bool)
                for reference, part in zip(references, parts, strict=True)
            ]
            weights = torch.stack(there).float()[..., None]  # (references, B, 1)
            total = (torch.stack(parts) * weights).sum(0) / weights.sum(0).clamp_min(1)
            read.append(total[:, None])
        return read


DECLIP = (("perceptual", ("perceptual",)), ("semantic", ("semantic",)))
SYSTEMS = {
    "dp_adapter": System(DECLIP),
    "coarse": System((("coarse", ("perceptual", "semantic")),)),  # one adapter, so both references in one feature
    "coarse2": System((("coarse", ("perceptual",)), ("coarse", ("semantic",)))),
    "self": System(DECLIP, "self"),
}


def draw(album: Album, looks: range, pairing: Pairing, count: int, rng: np.random.Generator) -> Pairs:
    """Pairs of the looks that are named, with photos drawn evenly."""
    photo, look = rng.integers(len(album.rows), size=count), rng.integers(len(looks), size=count)
    other_photo = (photo + rng.integers(1, len(album.rows), count)) % len(album.rows)
    other_look = (look + rng.integers(1, len(looks), count)) % len(looks)
    which = np.asarray(looks)
    target = album.number(photo, which[look])
    if pairing == "self":
        return Pairs(target, target, target)
    return Pairs(target, album.number(other_photo, which[look]), album.number(photo, which[other_look]))


def presence(count: int, drop: float, drop_both: float, rng: np.random.Generator) -> dict[str, Present]:
    """Which references are there, each left out alone with probability `drop`, and both with `drop_both`."""
    chance = rng.random(count)
    both = chance < drop_both
    perceptual = (chance >= drop_both) & (chance < drop_both + drop)
    semantic = (chance >= drop_both + drop) & (chance < drop_both + 2 * drop)
    return {"perceptual": ~(both | perceptual), "semantic": ~(both | semantic)}
