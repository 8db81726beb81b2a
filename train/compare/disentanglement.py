"""How well distortion and content can be read from each of the three features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from declip_rt.model.manifest import Estimate
from declip_rt.ratings import agreement
from train import findings, intervals, probe
from train.compare.subject import SPACES, VARIANTS, Subject, variants
from train.distortions import KINDS
from train.features import Item
from train.findings import Finding
from train.i2t.manifest import Row
from train.intervals import Statistic
from train.photos import photos
from train.rated import rows
from train.tables import Table

PLAIN = 3  # the strength from which on a distortion is plain to see


@dataclass(frozen=True)
class Reading:
    """What is read from each feature, (N,) of each space, and the statistic that measures it."""

    what: str
    by: str
    values: dict[str, probe.Values]
    statistic: Statistic
    photos: NDArray[np.generic]

    def estimates(self) -> list[Estimate]:
        return [intervals.measure(values, self.statistic, self.photos) for values in self.values.values()]

    def claim(self, more: str, less: str) -> Finding:
        sides = ((space, self.values[space]) for space in (more, less))
        return findings.compare(f"{self.what}, {self.by}", *sides, self.statistic, self.photos)


def table(subject: Subject) -> Table:
    kind, plain, family, strength, same, category = _readings(subject)
    claims = (
        plain.claim("perceptual", "semantic"),
        plain.claim("coarse", "semantic"),
        strength.claim("perceptual", "semantic"),
        same.claim("semantic", "perceptual"),
        same.claim("coarse", "perceptual"),
        category.claim("semantic", "perceptual"),
    )
    readings = (kind, plain, family, strength, same, category)
    lines = tuple((f"{one.what} (n {len(one.photos)})", one.by, *one.estimates()) for one in readings)
    note = f"{VARIANTS['test']} variants of each unseen photo, each with one distortion; 95 % bootstrap intervals."
    return Table("disentanglement", note, ("what", "read by", *SPACES), lines, claims)


def _readings(subject: Subject) -> Iterator[Reading]:
    items = {split: variants(subject.data, split) for split in ("train", "test")}
    found = {split: subject.spaces(subject.coarse(some, f"variants {split}")) for split, some in items.items()}
    edits = {split: [item.row.edits[0] for item in some] for split, some in items.items()}
    kinds = {split: np.array([edit.kind for edit in some]) for split, some in edits.items()}
    strengths = {split: np.array([edit.strength for edit in some]) for split, some in edits.items()}
    families = {split: np.array([KINDS[kind].family for kind in some]) for split, some in kinds.items()}
    photo = np.array([item.row.image for item in items["test"]])

    def classified(labels: dict[str, NDArray[np.str_]]) -> dict[str, probe.Values]:
        return {space: _right(found["train"][space], labels, found["test"][space]) for space in SPACES}

    by, right, plain = "linear probe, accuracy", classified(kinds), strengths["test"] >= PLAIN
    yield Reading(f"perception: kind of distortion, 1 of {len(KINDS)}", by, right, intervals.share, photo)
    yield Reading(
        f"perception: the same, of strengths {PLAIN} to 5",
        by,
        {space: values[plain] for space, values in right.items()},
        intervals.share,
        photo[plain],
    )
    yield Reading("perception: family of distortion, 1 of 6", by, classified(families), intervals.share, photo)
    read = {space: probe.regress(found["train"][space], strengths["train"], found["test"][space]) for space in SPACES}
    agree = intervals.srcc_with(strengths["test"])
    yield Reading("perception: strength of distortion", "linear probe, SRCC", read, agree, photo)
    same = {space: probe.neighbour_shares(found["test"][space], photo) for space in SPACES}
    by_neighbour = "nearest neighbour, accuracy"
    yield Reading("content: the photo under another distortion", by_neighbour, same, intervals.share, photo)
    shown, labels = _categories(subject)
    most = max(np.mean(labels["test"] == label) for label in {*labels["test"]})
    right = {space: _right(shown["train"][space], labels, shown["test"][space]) for space in SPACES}
    of_photos = np.arange(len(labels["test"]))
    yield Reading(f"content: category, most frequent {most:.2f}", by, right, intervals.share, of_photos)


SUMMARY = ("technical SRCC, perceptual", "kind, perceptual", "same photo, perceptual", "same photo, semantic")


def summary(subject: Subject) -> tuple[Estimate, ...]:
    """The columns of SUMMARY, read by linear probes and nearest neighbours on the test splits."""
    splits = {split: rows(subject.data, "mos", split) for split in ("train", "test")}
    mos = {split: np.array([row.scores["mos"] for row in some]) for split, some in splits.items()}
    photos_of, variants_of = {}, {split: variants(subject.data, split) for split in splits}
    for split, some in splits.items():
        photos_of[split] = subject.spaces(subject.coarse([Item(row) for row in some], f"mos {split}"))["perceptual"]
    found = {split: subject.spaces(subject.coarse(some, f"variants {split}")) for split, some in variants_of.items()}
    kinds = {split: np.array([item.row.edits[0].kind for item in some]) for split, some in variants_of.items()}
    photo = np.array([item.row.image for item in variants_of["test"]])
    technical = probe.regress(photos_of["train"], mos["train"], photos_of["test"])
    return (
        agreement.measure(technical, mos["test"]).srcc,
        intervals.mean(_right(found["train"]["perceptual"], kinds, found["test"]["perceptual"]), photo),
        *(
            intervals.mean(probe.neighbour_shares(found["test"][space], photo), photo)
            for space in ("perceptual", "semantic")
        ),
    )


def _right(train: probe.Features, labels: dict[str, NDArray[np.str_]], test: probe.Features) -> probe.Values:
    """(N,) 1 where a linear probe tells the label of a test feature, else 0."""
    return (probe.classify(train, labels["train"], test) == labels["test"]).astype(np.float64)


def _categories(subject: Subject) -> tuple[dict[str, dict[str, probe.Features]], dict[str, NDArray[np.str_]]]:
    """The features and the categories of the photos that have one (OASIS), by split."""
    found, labels = {}, {}
    for split in ("train", "test"):
        listed = [photo for photo in photos(subject.data, "beauty", split) if photo.category]
        items = [Item(Row(str(photo.path.relative_to(subject.data)))) for photo in listed]
        found[split] = subject.spaces(subject.coarse(items, f"categories {split}"))
        labels[split] = np.array([photo.category for photo in listed])
    return found, labels
