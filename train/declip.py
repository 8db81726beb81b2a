"""Stage 2: two projectors, each aligned with its own text of the same image (arXiv 2503.02206).

`python -m train.declip CONFIG.toml --manifest I2T.jsonl --out RUN` trains this stage alone;
`torchrun --nproc-per-node N -m train.declip ...` does so in N processes, each with its own batch, and with the texts of
all batches as negatives.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from declip_rt.errors import ConfigError, DeclipError, ImageError
from train import clip, losses, parallel, texts
from train.config import Config
from train.features import Encoder, Item, Pictures, Stored, digest, jittered, report, store
from train.i2t.manifest import Images, Row, read
from train.loop import Stage, fit, keep_log, key
from train.model import Declip, build

log = logging.getLogger("train.declip")
SPACES = ("perceptual", "semantic")
LEVELS = {"mos": texts.QUALITY, "beauty": texts.BEAUTY}  # score: its five level texts


def train(model: Declip, config: Config, rows: list[Row], images: Images, out: Path) -> None:
    """Trains the projectors, and with `declip.unfreeze` the image tower's last blocks, in place.

    Keeps features in `out/features` (of images, unless blocks are unfrozen), and its checkpoint in `out/projectors.pt`.

    Raises:
        ConfigError: rows or texts are missing, a text is too long, or the settings are at odds with the model.
        ImageError: no image can be read.
    """
    c = config.declip
    trained = nn.ModuleDict({space: getattr(model, space) for space in SPACES})
    if c.unfreeze:
        trained["visual"] = model.clip.visual
        for parameter in clip.last_blocks(model.clip.visual, c.unfreeze):
            parameter.requires_grad_(True)
    encode = Encoder(model, images, config.views, out / "features", c.workers)
    groups = _groups(config, rows, encode)
    objective = _Objective(model, config, groups, out / "features")  # a text that cannot be used is found before images
    for group in groups if c.unfreeze == 0 else ():
        group.encode(encode)
    stage = Stage(
        name="declip",
        checkpoint=out / "projectors.pt",
        model=trained,
        batches=lambda: _Batches(groups, objective.texts),
        images=sum(group.size for group in groups),
        losses=objective,
        weights=objective.weights,
        key=key(c, config.views, config.features.jitters, encode.digest, rows),
        seed=config.seed + 2,
    )
    fit(stage, c if c.unfreeze else msgspec.structs.replace(c, workers=0))
    model.clip.requires_grad_(False)
    report(sorted(set(parallel.gather_items(sorted(objective.failures)))), len(rows), "training")


class Batch(NamedTuple):
    """What one process draws of each group, one group after another."""

    images: Tensor  # (n, D) coarse features, or uint8 (n, V, S, S, 3)
    items: Tensor  # (n,) numbers of the items in their groups, -1 where the image cannot be read
    drawn: Tensor  # (B, 2) numbers of a perceptual and a semantic text of the first group's items, -1 for none
    failures: list[str]


class _Group:
    """Items from which each batch draws `size`; all are drawn before any is drawn again."""

    def __init__(self, name: str, items: Sequence[Item], size: int, pictures: Pictures, seed: int) -> None:
        self.name, self.items, self.size, self.pictures, self.seed = name, items, size, pictures, seed
        self.stored: Stored | None = None
        self.usable = np.arange(len(items))
        self.rank, self.world = parallel.rank(), parallel.world()  # a loader's worker may not know them
        self._epoch, self._order = -1, self.usable

    def encode(self, encode: Encoder) -> None:
        """From here on images are features, of those that can be read."""
        self.stored = encode(self.items, self.name)
        self.usable = np.setdiff1d(self.usable, list(self.stored.failures))

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


def _groups(config: Config, rows: list[Row], encode: Encoder) -> list[_Group]:
    """The rows with texts, then those with each of the scores."""
    c = config.declip
    described = [Item(row) for row in rows if row.perceptual or row.semantic]
    if not described:
        raise ConfigError(f"none of the {len(rows)} rows has a text; train/README.md describes the manifest")
    listed = {"texts": (described, c.batch)}
    for name in LEVELS if c.level_weight else ():
        if scored := [row for row in rows if name in row.scores]:
            listed[name] = jittered(scored, config.features.jitters, config.seed), max(1, c.batch // 4)
    return [
        _Group(name, items, size, Pictures(items, encode.images, encode.spec), config.seed + number)
        for number, (name, (items, size)) in enumerate(listed.items())
    ]


class _Texts:
    """The different texts of one kind: the items', and the text tower's features of them."""

    def __init__(self, model: Declip, config: Config, items: Sequence[Item], space: str, folder: Path) -> None:
        own = [getattr(item.row, space) for item in items]
        number = {text: i for i, text in enumerate(dict.fromkeys(text for some in own for text in some))}
        self.own = torch.full((len(items), max(1, *map(len, own))), -1)  # (R, K) numbers of an item's texts
        for i, some in enumerate(own):
            self.own[i, : len(some)] = torch.tensor([number[text] for text in some], dtype=torch.long)
        self.counts = (self.own >= 0).sum(1)
        every, name = list(number), config.clip.model
        if not every:
            raise ConfigError(f"no row has a {space} text; set declip.{space}_weight and declip.cross_weight to 0")

        @torch.no_grad()
        def encode(span: range) -> tuple[Tensor, dict[int, str]]:
            parts = []
            for first in span[::256]:
                group = every[first : min(first + 256, span.stop)]
                if not (fits := clip.fits(name, group)).all():
                    long = group[int(fits.argmin())]
                    image = next(item.row.image for item, some in zip(items, own, strict=True) if long in some)
                    raise ConfigError(f"{name} cannot read all of the {space} text of {image}, {long!r}; shorten it")
                parts.append(clip.encode_texts(model.clip, name, group))
            return torch.cat(parts), {}

        tower = (value for part, value in model.clip.state_dict().items() if not part.startswith("visual."))
        model.clip.to(parallel.device())
        self.features = store(folder / digest(tower, every), len(every), encode)  # (U, D)
        model.clip.cpu()

    def draw(self, items: NDArray[np.int64], chance: NDArray[np.float64]) -> Tensor:
        """One text of each item (n,) by chances (n,) in [0, 1); -1 where it has none."""
        which = torch.from_numpy(items)
        return self.own[which, (torch.from_numpy(chance) * self.counts[which]).long()]

    def positives(self, items: Tensor, texts: Tensor) -> Tensor:
        """(N, M) bool: which of the texts (M,) are an item's (N,)."""
        found = torch.zeros(len(items), len(texts), dtype=torch.bool)
        for own in self.own[items].T:
            found |= own[:, None] == texts
        return found


class _Batches(Dataset[Batch]):
    def __init__(self, groups: list[_Group], texts: dict[str, _Texts]) -> None:
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


class _Objective:
    """The losses of a batch: `perceptual` and `semantic` alignment, `cross`, `levels`."""

    def __init__(self, model: Declip, config: Config, groups: list[_Group], folder: Path) -> None:
        c = config.declip
        self.model, self.device, self.online = model, parallel.device(), c.unfreeze > 0
        weights = {
            "perceptual": c.perceptual_weight,
            "semantic": c.semantic_weight,
            "cross": c.cross_weight,
            "levels": c.level_weight if len(groups) > 1 else 0.0,
        }
        self.weights = {name: weight for name, weight in weights.items() if weight}
        if not self.weights:
            raise ConfigError("all weights of [declip] are 0; set one of them to more")
        needed = [space for space in SPACES if space in self.weights or "cross" in self.weights]
        self.texts = {space: _Texts(model, config, groups[0].items, space, folder) for space in needed}
        self.scale = model.clip.logit_scale.exp().detach().to(self.device)
        self.kinds = torch.arange(len(groups)).repeat_interleave(torch.tensor([group.size for group in groups]))
        self.kinds = self.kinds.repeat(parallel.world())  # the group of each image of the global batch
        self.levels = [self._level(config, group) for group in groups[1:]]
        self.failures: set[str] = set()

    @torch.no_grad()
    def _level(self, config: Config, group: _Group) -> tuple[Tensor, Tensor]:
        """The features (5, D) of a score's level texts, and the items' soft targets (R, 5)."""
        scores = [item.row.scores[group.name] for item in group.items]
        centres = texts.level_centres(scores)
        targets = torch.from_numpy(np.stack([texts.level_weights(score, centres) for score in scores]))
        words = clip.encode_texts(self.model.clip, config.clip.model, list(LEVELS[group.name]))
        return words.to(self.device), targets.to(self.device)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        self.failures.update(batch.failures)
        images = batch.images.to(self.device)
        coarse = self.model.coarse(images) if self.online else images
        items, drawn = (parallel.gather(numbers.to(self.device)).cpu() for numbers in (batch.items, batch.drawn))
        readable = items >= 0
        if not readable.any():
            raise ImageError(f"no image of a batch can be read; the first is {next(iter(self.failures), 'elsewhere')}")
        kinds, items, drawn = self.kinds[readable], items[readable], drawn[readable[self.kinds == 0]]
        found = {space: parallel.gather(getattr(self.model, space)(coarse).float())[readable] for space in SPACES}
        parts = self._align({space: image[kinds == 0] for space, image in found.items()}, items[kinds == 0], drawn)
        if "levels" in self.weights:
            terms = [
                losses.levels(found["perceptual"][kinds == kind], words, targets[items[kinds == kind]], self.scale)
                for kind, (words, targets) in enumerate(self.levels, 1)
            ]
            parts["levels"] = torch.stack(terms).sum()
        return parts

    def _align(self, image: dict[str, Tensor], items: Tensor, drawn: Tensor) -> dict[str, Tensor]:
        """The losses that texts give: image (N, D) by space, items (N,), drawn (N, 2)."""
        parts, features = {}, {}
        for column, space in enumerate(SPACES):
            if (own := self.texts.get(space)) is None:
                continue
            has = drawn[:, column] >= 0
            used = drawn[has, column].unique()
            features[space] = own.features[used].to(self.device)
            if space in self.weights:
                positives = own.positives(items[has], used).to(self.device)
                parts[space] = losses.contrastive(image[space][has], features[space], positives, self.scale)
        if "cross" in self.weights:
            parts["cross"] = sum(
                losses.confusion(image[space], features[other], self.scale) for space, other in (SPACES, SPACES[::-1])
            )
        return parts


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.declip", description=__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument("--manifest", type=Path, required=True, metavar="I2T.jsonl", help="images and their two texts")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder: log, features, projectors.pt")
    options = parser.parse_args()
    with parallel.processes():
        keep_log(options.out)
        try:
            config = Config.read(options.config)
            tower = clip.train(config.clip, options.config.parent, None, options.out, config.seed)
            images = Images(options.manifest.parent)
            train(build(config, tower), config, read(options.manifest), images, options.out)
        except DeclipError as error:
            print(f"train: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
