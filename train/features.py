"""The image tower's features of photos, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError, ImageError
from declip_rt.images.decode import RGB
from declip_rt.images.views import write_views
from declip_rt.model.manifest import ViewSpec
from train import clip, parallel
from train.distortions import KINDS
from train.i2t.manifest import Images, Row
from train.model import Declip

log = logging.getLogger("train.features")
SHARD = 8192  # features a file: what a stopped run may have to compute again
BLOCK = 2048  # features that are pooled at once
BATCH = 8  # larger ones leave the cache: half as fast on a CPU


class Item(msgspec.Struct, frozen=True):
    """A row's image or, where `jitter` is not 0, a random flip and crop of it, drawn from `jitter`."""

    row: Row
    jitter: int = 0


def jittered(rows: Iterable[Row], jitters: int, seed: int) -> list[Item]:
    """Each row `jitters` times."""
    rng = np.random.default_rng((seed, 2))
    return [Item(row, int(rng.integers(1, 2**32))) for row in rows for _ in range(jitters)]


class Pictures(Dataset[tuple[Tensor, str]]):
    """`pictures[i]`: item i as the model sees it, uint8 (V, S, S, 3), and why it cannot be read, or nothing."""

    def __init__(self, items: Sequence[Item], images: Images, spec: ViewSpec) -> None:
        self.items, self.images, self.spec = items, images, spec

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> tuple[Tensor, str]:
        views, why = np.zeros(self.spec.shape, np.uint8), ""
        try:
            image = self.images.open(self.items[i].row)
            write_views(_jitter(image, self.items[i].jitter), self.spec, views)
        except ImageError as error:
            why = f"{self.items[i].row.image}: {error}"
        return torch.from_numpy(views), why


def _jitter(rgb: RGB, jitter: int) -> RGB:
    if jitter == 0:
        return rgb
    rng = np.random.default_rng(jitter)
    height, width = (int(side * rng.uniform(0.85, 1)) for side in rgb.shape[:2])
    top, left = rng.integers(rgb.shape[0] - height + 1), rng.integers(rgb.shape[1] - width + 1)
    crop = rgb[top : top + height, left : left + width]
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


class Stored:
    """Features (N, D) in float32, memory-mapped from shards. `failures[i]` says why feature i is missing (NaN)."""

    def __init__(self, folder: Path, count: int) -> None:
        self._count = count
        self._shards = [np.load(_shard(folder, first), mmap_mode="r") for first in range(0, count, SHARD)]
        notes = (_shard(folder, first).with_suffix(".json") for first in range(0, count, SHARD))
        parts = [msgspec.json.decode(note.read_bytes(), type=dict[int, str]) for note in notes]
        self.failures = {i: why for part in parts for i, why in part.items()}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, which: Iterable[int]) -> Tensor:
        numbers = [divmod(int(i), SHARD) for i in which]
        made = np.empty((len(numbers), self._shards[0].shape[1]), np.float32)
        for row, (shard, place) in zip(made, numbers, strict=True):
            row[:] = self._shards[shard][place]
        return torch.from_numpy(made)


def store(folder: Path, count: int, make: Callable[[range], tuple[Tensor, dict[int, str]]]) -> Stored:
    """Makes the shards that `folder` lacks, shared out among the processes; `make` gives features and failures."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, count, SHARD)[parallel.rank() :: parallel.world()]:
        if (file := _shard(folder, first)).is_file():
            continue
        features, failures = make(range(first, min(count, first + SHARD)))
        file.with_suffix(".json").write_bytes(msgspec.json.encode(failures))
        write_whole(file, partial(_save, features))
    parallel.wait()
    return Stored(folder, count)


def _save(features: Tensor, path: Path) -> None:
    with path.open("wb") as file:  # np.save adds a suffix to a path
        np.save(file, features.float().cpu().numpy())


def _shard(folder: Path, first: int) -> Path:
    return folder / f"{first // SHARD:06}.npy"


def digest(weights: Iterable[Tensor], *others: object) -> str:
    """Names features by all that they depend on: the weights that make them, and what they are made of."""
    made = hashlib.sha256()
    for value in weights:
        made.update(value.cpu().numpy().tobytes())
    for other in others:
        made.update(msgspec.json.encode(other))
    return made.hexdigest()


class Views:
    """Features (N, V, F) of each view; those of an image that could not be read are NaN, and `failures` says why."""

    def __init__(self, stored: Stored, views: int) -> None:
        self.stored, self.views, self.failures = stored, views, stored.failures

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, which: Sequence[int]) -> Tensor:
        return self.stored[which].unflatten(1, (self.views, -1))


class Coarse:
    """Coarse features (N, D), by the projection as it is now."""

    def __init__(self, views: Views, model: Declip) -> None:
        self.views, self.model, self.failures = views, model, views.failures

    def __len__(self) -> int:
        return len(self.views)

    @torch.no_grad()
    def __getitem__(self, which: Sequence[int]) -> Tensor:
        parts = (self.views[which[first : first + BLOCK]] for first in range(0, len(which), BLOCK))
        return torch.cat([self.model.pool(part) for part in parts])


class Encoder:
    """Encodes items with the image tower as it is now. What its locked part makes of them is kept in `folder`."""

    def __init__(self, model: Declip, images: Images, spec: ViewSpec, folder: Path, workers: int) -> None:
        self.model, self.images, self.spec, self.folder, self.workers = model, images, spec, folder, workers
        visual = model.clip.visual
        locked = clip.locked_image(model.clip)
        amounts = {name: kind.amounts for name, kind in KINDS.items()}
        look = list(visual.image_mean), list(visual.image_std)
        self.digest = digest(locked.state_dict().values(), spec, *look, amounts)

    def __call__(self, items: Sequence[Item], what: str) -> Coarse:
        """The coarse features. Raises ConfigError where there are no items, ImageError where no image can be read."""
        return Coarse(self.views(items, what), self.model)

    def views(self, items: Sequence[Item], what: str) -> Views:
        """What the locked part of the tower makes of each view: (N, V, F). Raises as a call does."""
        return Views(self._stored(items, what), len(self.spec.placements))

    def _stored(self, items: Sequence[Item], what: str) -> Stored:
        if not items:
            raise ConfigError(f"there are no {what} images; train/README.md describes what the data must hold")
        pictures = Pictures(items, self.images, self.spec)
        made = hashlib.sha256(self.digest.encode())
        for item in items:  # its texts and scores do not change its pixels
            row = item.row
            made.update(msgspec.json.encode((row.image, row.shrink, row.edits, row.seed, item.jitter)))
        self.model.clip.to(parallel.device())
        stored = store(self.folder / made.hexdigest(), len(items), lambda span: self._encode(pictures, span, what))
        self.model.clip.cpu()
        report(list(stored.failures.values()), len(items), what)
        return stored

    @torch.no_grad()
    def _encode(self, pictures: Pictures, span: range, what: str) -> tuple[Tensor, dict[int, str]]:
        loader = DataLoader(pictures, BATCH, sampler=span, num_workers=self.workers, generator=torch.Generator())
        parts, failures = [], {}
        for first, (pixels, reasons) in zip(span[::BATCH], loader, strict=True):
            parts.append(self.model.views(pixels.to(parallel.device())).flatten(1).cpu())
            parts[-1][[bool(why) for why in reasons]] = torch.nan
            failures |= {i: why for i, why in enumerate(reasons, first) if why}
            if first // BATCH % 32 == 0:
                log.info("features: %s %d of %d", what, first, len(pictures))
        return torch.cat(parts), failures


def report(failures: list[str], count: int, what: str) -> None:
    """Logs how many images could not be read, and why. Raises ImageError where none could."""
    if failures and len(failures) == count:
        raise ImageError(f"none of the {count} {what} images can be read; the first is {failures[0]}")
    if failures:
        some = "; ".join(failures[:5])
        log.warning("%d of %d %s images cannot be read and are left out: %s", len(failures), count, what, some)
