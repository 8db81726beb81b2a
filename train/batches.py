"""Batches of images and their texts, for stages 1 and 2. Each is a pure function of the seed and the step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from declip_rt.errors import ConfigError
from train import clip, parallel, texts
from train.config import AlignConfig, Config
from train.features import Coarse, Encoder, Item, Pictures, Stored, digest, jittered, store
from train.i2t.manifest import Row
from train.model import Declip

SPACES = ("perceptual", "semantic")
LEVELS = {"mos": texts.QUALITY_WORDS, "beauty": texts.BEAUTY_WORDS}  # score: phrases for each of its five levels


class Batch(NamedTuple):
    """What one process draws of each group, one group after another."""

    images: Tensor  # (n, ...) features, or uint8 (n, V, S, S, 3)
    items: Tensor  # (n,) numbers of the items in their groups, -1 where the image cannot be read
    drawn: Tensor  # (B, 2) numbers of a perceptual and a semantic text of the first group's items, -1 for none
    failures: list[str]


class Group:
    """Items from which each batch draws `size`; all are drawn before any is drawn again."""

    def __init__(self, name: str, items: Sequence[Item], size: int, pictures: Pictures, seed: int) -> None:
        self.name, self.items, self.size, self.pictures, self.seed = name, items, size, pictures, seed
        self.stored: Stored | Coarse | None = None
        self.usable = np.arange(len(items))
        self.rank, self.world = parallel.rank(), parallel.world()  # a loader's worker may not know them
        self._epoch, self._order = -1, self.usable

    def keep(self, stored: Stored | Coarse) -> None:
        """From here on images are features, of those that can be read."""
        self.stored = stored
        self.usable = np.setdiff1d(self.usable, list(stored.failures))

    def draw(self, step: int) -> NDArray[np.int64]:
        """This process's items (size,) of the step."""
        first = (step * self.world + self.rank) * self.size
        return np.array([self._item(*divmod(place, len(self.usable))) for place in range(first, first + self.size)])

    def _item(self, epoch: int, place: int) -> int:
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.usable)
        return int(self._order[place])

    def images(self, items: NDArray[np.int64]) -> tuple[Tensor, list[str]]:
        """Features or pixels (n, ...), and why images cannot be read (n)."""
        if self.stored is not None:
            return self.stored[items], [""] * len(items)
        pixels, failures = zip(*(self.pictures[i] for i in items), strict=True)
        return torch.stack(pixels), list(failures)


def groups(rows: list[Row], stage: AlignConfig, config: Config, encode: Encoder) -> list[Group]:
    """The rows with texts, then those with each of the scores, varied where they have no text.

    Raises:
        ConfigError: no row has a text.
    """
    described = [Item(row) for row in rows if row.perceptual or row.semantic]
    if not described:
        raise ConfigError(f"none of the {len(rows)} rows has a text; train/README.md describes the manifest")
    made = [_group("texts", described, stage.batch, encode, config.seed)]
    for number, name in enumerate(LEVELS if stage.level_weight else (), 1):
        alone = [row for row in rows if name in row.scores and not (row.perceptual or row.semantic)]
        items = described + jittered(alone, config.features.jitters, config.seed)  # those of above are encoded once
        group = _group(name, items, max(1, stage.batch // 4), encode, config.seed + number)
        group.usable = np.array([i for i, item in enumerate(items) if name in item.row.scores], np.int64)
        made += [group] * bool(len(group.usable))
    return made


def _group(name: str, items: list[Item], size: int, encode: Encoder, seed: int) -> Group:
    return Group(name, items, size, Pictures(items, encode.images, encode.spec), seed)


class Texts:
    """The different texts of one kind: the items', and what the locked part of the text tower makes of them."""

    def __init__(self, model: Declip, name: str, items: Sequence[Item], space: str, folder: Path) -> None:
        own = [getattr(item.row, space) for item in items]
        number = {text: i for i, text in enumerate(dict.fromkeys(text for some in own for text in some))}
        self.own = torch.full((len(items), max(1, *map(len, own))), -1)  # (R, K) numbers of an item's texts
        for i, some in enumerate(own):
            self.own[i, : len(some)] = torch.tensor([number[text] for text in some], dtype=torch.long)
        self.counts = (self.own >= 0).sum(1)
        every = list(number)
        if not every:
            raise ConfigError(f"no row has a {space} text; set {space}_weight and cross_weight to 0")

        def encode(span: range) -> tuple[Tensor, dict[int, str]]:
            parts = []
            for first in span[::256]:
                group = every[first : min(first + 256, span.stop)]
                if not (fits := clip.fits(name, group)).all():
                    long = group[int(fits.argmin())]
                    image = next(item.row.image for item, some in zip(items, own, strict=True) if long in some)
                    raise ConfigError(f"{name} cannot read all of the {space} text of {image}, {long!r}; shorten it")
                parts.append(clip.sentences(model.clip, name, group))
            return torch.cat(parts), {}

        model.clip.to(parallel.device())
        made = store(folder / digest(clip.locked_text(model.clip), every), len(every), encode)
        self.features = made[range(len(made))]  # (U, W)
        model.clip.cpu()

    def draw(self, items: NDArray[np.int64], chance: NDArray[np.float64]) -> Tensor:
        """One text of each item (n,) by chances (n,) in [0, 1); -1 where it has none."""
        which = torch.from_numpy(items)
        return self.own[which, (torch.from_numpy(chance) * self.counts[which]).long()]

    def positives(self, items: Tensor, texts: Tensor) -> Tensor:
        """(N, M) 1 where a text (M,) is one of an item's (N,), else 0."""
        found = torch.zeros(len(items), len(texts), dtype=torch.bool)
        for own in self.own[items].T:
            found |= own[:, None] == texts
        return found.float()

    def likeness(self, drawn: Tensor, texts: Tensor, temperature: float) -> Tensor:
        """(N, M) in (0, 1]: exp((cosine - 1) / temperature) of texts drawn (N,) and texts (M,), in the text tower."""
        one, other = (F.normalize(self.features[some].float(), dim=-1) for some in (drawn, texts))
        return ((one @ other.T - 1) / temperature).exp()


class Batches(Dataset[Batch]):
    """`batches[step]`: of the first group with texts, of all with images."""

    def __init__(self, groups: list[Group], texts: dict[str, Texts]) -> None:
        self.groups, self.texts = groups, texts

    def __getitem__(self, step: int) -> Batch:
        items = [group.draw(step) for group in self.groups]
        loaded = [group.images(which) for group, which in zip(self.groups, items, strict=True)]
        reasons = [why for _, some in loaded for why in some]
        numbers = np.where([not why for why in reasons], np.concatenate(items), -1)
        group = self.groups[0]
        chances = np.random.default_rng((group.seed, step, 1)).random((2, group.world, group.size))[:, group.rank]
        drawn = [
            self.texts[space].draw(items[0], chance) if space in self.texts else torch.full((group.size,), -1)
            for space, chance in zip(SPACES, chances, strict=True)
        ]
        images = torch.cat([images for images, _ in loaded])
        return Batch(images, torch.from_numpy(numbers), torch.stack(drawn, 1), [why for why in reasons if why])
