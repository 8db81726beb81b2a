"""Cross-database: what a probe that learned from one set tells of another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train import findings, intervals, probe
from train.compare.subject import Subject, variants
from train.distortions import KINDS
from train.features import Item
from train.i2t.manifest import Row
from train.intervals import Statistic
from train.rated import rows
from train.readers import Dataset
from train.tables import Table

LIVE, DISTORTED = "LIVE In the Wild", "distortions"


@dataclass(frozen=True)
class Database:
    """Items, their quality in units of their own, and the photo that each is of; by split."""

    name: str
    items: dict[str, list[Item]]
    quality: dict[str, NDArray[np.float64]]
    photos: NDArray[np.str_]  # of the test split
    chosen: dict[str, NDArray[np.bool_]] | None = None  # of the items of each split; None: all

    @property
    def agree(self) -> Statistic:
        """SRCC with the quality of the test split."""
        return intervals.srcc_with(self.quality["test"])


def table(subject: Subject, sets: list[Dataset]) -> Table:
    """A linear probe learns from one set's training split and reads the others' test splits."""
    rated = [_live(subject), _distorted(subject), *_published(sets)]
    found = {(one.name, split): _spaces(subject, one, split) for one in rated for split in one.items}
    lines, read = [], {}
    for space in ("coarse", "perceptual"):
        for one in rated:
            train = found[one.name, "train"][space]
            for other in rated:
                values = probe.regress(train, one.quality["train"], found[other.name, "test"][space])
                read[space, one.name, other.name] = values
            figures = (
                intervals.measure(read[space, one.name, other.name], other.agree, other.photos) for other in rated
            )
            lines.append((space, one.name, *figures))
    claims = tuple(
        findings.compare(
            f"{other.name} by a probe that learned from {one.name}, SRCC",
            *((space, read[space, one.name, other.name]) for space in ("perceptual", "coarse")),
            other.agree,
            other.photos,
        )
        for one in rated
        for other in rated
        if one is not other
    )
    note = (
        "SRCC of a linear probe that learns from the rows' sets, on the test splits of the columns' sets. "
        f"{DISTORTED}: pristine photos with one fault of any kind; their quality is the lower, the stronger it is."
    )
    columns = ("feature", "learned from", *(one.name for one in rated))
    return Table("cross-database", note, columns, tuple(lines), claims)


def _spaces(subject: Subject, one: Database, split: str) -> dict[str, probe.Features]:
    coarse = subject.coarse(one.items[split], f"{one.name} {split}")
    return subject.spaces(coarse if one.chosen is None else coarse[one.chosen[split]])


def _live(subject: Subject) -> Database:
    splits = {split: rows(subject.data, "mos", split) for split in ("train", "test")}
    return Database(
        LIVE,
        {split: [Item(row) for row in some] for split, some in splits.items()},
        {split: np.array([row.scores["mos"] for row in some]) for split, some in splits.items()},
        np.array([row.image for row in splits["test"]]),
    )


def _distorted(subject: Subject) -> Database:
    items = {split: variants(subject.data, split) for split in ("train", "test")}
    edits = {split: [item.row.edits[0] for item in some] for split, some in items.items()}
    chosen = {split: np.array([KINDS[edit.kind].fault for edit in some]) for split, some in edits.items()}
    quality = {split: -np.array([edit.strength for edit in some])[chosen[split]] for split, some in edits.items()}
    photos = np.array([item.row.image for item in items["test"]])[chosen["test"]]
    return Database(DISTORTED, items, quality, photos, chosen)


def _published(sets: list[Dataset]) -> Iterator[Database]:
    for dataset in sets:
        splits = {split: dataset.of(split) for split in ("train", "test")}
        paths = {split: [str(item.path.absolute()) for item in some] for split, some in splits.items()}
        yield Database(
            dataset.name,
            {split: [Item(Row(path)) for path in some] for split, some in paths.items()},
            {split: np.array([dataset.unit(item) for item in some]) for split, some in splits.items()},
            np.array(paths["test"]),
        )
