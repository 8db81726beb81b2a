"""What stages 1 and 2 minimise: images near their own texts, and spaces that do not tell the other's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from declip_rt.errors import ConfigError, ImageError
from train import clip, losses, parallel, texts
from train.batches import LEVELS, SPACES, Batch, Group, Texts
from train.config import AlignConfig
from train.grades import GRADES, Grades
from train.model import Declip


class Sides(Protocol):
    """Images and texts in common spaces, as a stage learns them."""

    def spaces(self, images: Tensor) -> dict[str, Tensor]:
        """A batch's images (n, ...) -> their feature (n, D) in each space, L2-normalised."""

    def words(self, sentences: Tensor) -> Tensor:
        """What the locked part of the text tower makes of texts (M, W) -> their features (M, D), L2-normalised."""

    def scale(self) -> Tensor:
        """What multiplies a cosine."""


class Objective:
    """The losses of a batch: `perceptual` and `semantic` alignment, `cross`, `levels`, `attributes`.

    Raises:
        ConfigError: all weights are 0, or a needed text is missing or too long.
    """

    def __init__(
        self, sides: Sides, model: Declip, name: str, stage: AlignConfig, groups: list[Group], folder: Path
    ) -> None:
        self.sides, self.device, self.temperature = sides, parallel.device(), stage.semantic_temperature
        weights = {
            "perceptual": stage.perceptual_weight,
            "semantic": stage.semantic_weight,
            "cross": stage.cross_weight,
            "levels": stage.level_weight if len(groups) > 1 else 0.0,
            "attributes": stage.attribute_weight,
        }
        self.weights = {name: weight for name, weight in weights.items() if weight}
        if not self.weights:
            raise ConfigError("all weights of the stage are 0; set one of them to more")
        needed = [space for space in SPACES if space in self.weights or "cross" in self.weights]
        self.texts = {space: Texts(model, name, groups[0].items, space, folder) for space in needed}
        self.kinds = torch.arange(len(groups)).repeat_interleave(torch.tensor([group.size for group in groups]))
        self.kinds = self.kinds.repeat(parallel.world())  # the group of each image of the global batch
        write = partial(self._words, model, name)
        self.levels = [(write(LEVELS[group.name]), self._targets(group)) for group in groups[1:]]
        self.grades = [
            (write(_aligned(grades.phrases)), *self._graded(groups[0], attribute, grades))
            for attribute, grades in (GRADES if "attributes" in self.weights else {}).items()
        ]
        self.failures: set[str] = set()

    def _words(self, model: Declip, name: str, levels: Sequence[Sequence[str]]) -> list[Tensor]:
        """What the locked part of the text tower makes of each level's phrases."""
        return [clip.sentences(model.clip, name, list(phrases)).to(self.device) for phrases in levels]

    def _levels(self, words: list[Tensor]) -> Tensor:
        """The features (5, 1, D) of the levels: each is the mean of its phrases'."""
        features = self.sides.words(torch.cat(words)).split([len(own) for own in words])
        return F.normalize(torch.stack([own.mean(0, keepdim=True) for own in features]), dim=-1)

    def _targets(self, group: Group) -> Tensor:
        """The items' soft targets (R, 5) over the level texts of their score; those without one are never drawn."""
        scores = [item.row.scores.get(group.name, 0.0) for item in group.items]
        centres = texts.level_centres([scores[i] for i in group.usable])
        return torch.from_numpy(np.stack([texts.level_weights(score, centres) for score in scores])).to(self.device)

    def _graded(self, group: Group, name: str, grades: Grades) -> tuple[Tensor, Tensor]:
        """Whether an attribute of each item is known (R,), and its soft targets (R, L) over the grades."""
        values = [grades.value(name, item.row) for item in group.items]
        targets = np.stack([texts.level_weights(value or 0.0, grades.marks) for value in values])
        return torch.tensor([value is not None for value in values]), torch.from_numpy(targets).to(self.device)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        self.failures.update(batch.failures)
        items, drawn = (parallel.gather(numbers.to(self.device)).cpu() for numbers in (batch.items, batch.drawn))
        readable = items >= 0
        if not readable.any():
            raise ImageError(f"no image of a batch can be read; the first is {next(iter(self.failures), 'elsewhere')}")
        kinds, items, drawn = self.kinds[readable], items[readable], drawn[readable[self.kinds == 0]]
        own = self.sides.spaces(batch.images.to(self.device))
        found = {space: parallel.gather(feature.float())[readable] for space, feature in own.items()}
        parts = self._align({space: image[kinds == 0] for space, image in found.items()}, items[kinds == 0], drawn)
        if "levels" in self.weights:
            terms = [
                losses.levels(
                    found["perceptual"][kinds == kind],
                    self._levels(words),
                    targets[items[kinds == kind]],
                    self.sides.scale(),
                )
                for kind, (words, targets) in enumerate(self.levels, 1)
            ]
            parts["levels"] = torch.stack(terms).sum()
        if "attributes" in self.weights:
            parts["attributes"] = self._attributes(found["perceptual"][kinds == 0], items[kinds == 0])
        return parts

    def _attributes(self, image: Tensor, items: Tensor) -> Tensor:
        """The loss that grades give: image (N, D), items (N,)."""
        terms = []
        for words, known, targets in self.grades:
            told = known[items]
            phrases = self.sides.words(torch.cat(words)).unflatten(0, (len(words), -1))
            terms.append(losses.levels(image[told], phrases, targets[items[told]], self.sides.scale()))
        return torch.stack(terms).sum()

    def _align(self, image: dict[str, Tensor], items: Tensor, drawn: Tensor) -> dict[str, Tensor]:
        """The losses that texts give: image (N, D) by space, items (N,), drawn (N, 2)."""
        parts, features = {}, {}
        for column, space in enumerate(SPACES):
            if (own := self.texts.get(space)) is None:
                continue
            has = drawn[:, column] >= 0
            used = drawn[has, column].unique()
            features[space] = self.sides.words(own.features[used].to(self.device))
            if space in self.weights:
                positives = own.positives(items[has], used)
                if space == "semantic" and self.temperature:
                    alike = own.likeness(drawn[has, column], used, self.temperature)
                    positives = torch.maximum(positives, alike)
                positives = positives.to(self.device)
                parts[space] = losses.contrastive(image[space][has], features[space], positives, self.sides.scale())
        if "cross" in self.weights:
            parts["cross"] = sum(
                losses.confusion(image[space], features[other], self.sides.scale())
                for space, other in (SPACES, SPACES[::-1])
            )
        return parts


def _aligned(phrases: Sequence[Sequence[str]]) -> list[list[str]]:
    """As many phrases for each grade; where one has fewer, they come again."""
    most = max(map(len, phrases))
    return [[own[i % len(own)] for i in range(most)] for own in phrases]
