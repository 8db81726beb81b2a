"""CLIP against DeCLIP: what can be read from a model's coarse, perceptual and semantic features, on unseen photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from declip_rt.model.manifest import Estimate
from declip_rt.ratings import agreement
from train import clip, heads, probe, texts
from train.config import Config
from train.distortions import KINDS, STRENGTHS, Distortion
from train.features import Encoder, Features, Item, rows
from train.i2t.manifest import Row
from train.model import ANTONYMS, ATTRIBUTES, Declip, new_heads
from train.photos import photos
from train.readers import Dataset
from train.tables import Table

SPACES = ("coarse", "perceptual", "semantic")
VARIANTS = {"train": 12, "test": 4}  # of each pristine photo, for the probes of distortion and content
TRAIN_SERIES, TEST_SERIES = 80, 60  # photos a series of each attribute
SERIES_OF = {  # attribute: the kind of distortion that moves it, and what measures it where it is not the strength
    "brightness": ("dark", "brightness"),
    "colorfulness": ("pale", "colorfulness"),
    "contrast": ("flat", "contrast"),
    "sharpness": ("blur", None),
    "noisiness": ("noise", None),
    "compression": ("jpeg", None),
    "depth_of_field": ("shallow", None),
}


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
        """The text features (P, D) of the low and the high prompts."""
        low, high = zip(*pairs, strict=True)
        name = self.config.clip.model
        return tuple(clip.encode_texts(self.model.clip, name, list(side)).numpy() for side in (low, high))  # type: ignore[return-value]


def quality(subject: Subject, name: str, head: str, training: Features) -> Table:
    """Agreement with people on the test split of `name` (mos or beauty), read in three ways from two features."""
    splits = {split: rows(subject.data, name, split) for split in ("train", "test")}
    found = {
        split: subject.spaces(subject.coarse([Item(r) for r in some], f"{name} {split}"))
        for split, some in splits.items()
    }
    truth = {split: np.array([row.scores[name] for row in some]) for split, some in splits.items()}
    low, high = subject.prompts(ANTONYMS[head])
    lines = []
    for space, who in (("coarse", "CLIP, coarse"), ("perceptual", "DeCLIP, perceptual")):
        train, test = found["train"][space], found["test"][space]
        readings = {
            "prompts": probe.lean(test, low, high),
            "linear probe": probe.regress(train, truth["train"], test),
            "trained head": _head(subject, space, head, training, test),
        }
        for how, values in readings.items():
            got = agreement.measure(values, truth["test"])
            lines.append((who, how, got.srcc, got.plcc, got.krcc, got.rmse))
    n = len(truth["test"])
    note = (
        f"{n} photos of the test split; 95 % bootstrap intervals. PLCC and RMSE after the four-parameter logistic fit."
    )
    return Table(f"{head} quality", note, ("feature", "read by", "SRCC", "PLCC", "KRCC", "RMSE"), tuple(lines))


@torch.no_grad()
def _head(subject: Subject, space: str, head: str, training: Features, test: probe.Features) -> probe.Values:
    """The head that ships reads the perceptual feature; one just like it is trained on the coarse feature."""
    quality = subject.model.quality
    if space == "coarse":
        torch.manual_seed(subject.config.seed)
        quality = new_heads(test.shape[1], subject.config.heads.hidden)
        with torch.enable_grad():
            heads.learn(quality, subject.config, training)
    return quality[head](torch.from_numpy(test)).numpy().astype(np.float64)


def attributes(subject: Subject) -> Table:
    """How well single attributes are told apart, by prompts and by a linear probe, on series of one distortion."""
    lines = []
    for name, (kind, measured) in SERIES_OF.items():
        found, truth = {}, {}
        for split, count in (("train", TRAIN_SERIES), ("test", TEST_SERIES)):
            items = series(subject.data, split, kind, count)
            found[split] = subject.spaces(subject.coarse(items, f"{kind} {split}"))
            truth[split] = np.array([_truth(subject, item, measured) for item in items])
        low, high = subject.prompts(ATTRIBUTES[name][2])
        sign = -1 if name in ("sharpness", "depth_of_field") else 1  # which fall as their distortion grows
        by_prompts, by_probe = [], []
        for space in ("coarse", "perceptual"):
            test = found["test"][space]
            by_prompts.append(agreement.measure(sign * probe.lean(test, low, high), truth["test"]).srcc)
            by_probe.append(
                agreement.measure(probe.regress(found["train"][space], truth["train"], test), truth["test"]).srcc
            )
        lines.append((name, kind, *by_prompts, *by_probe))
    note = (
        f"SRCC with the measured brightness, colorfulness, RMS contrast, or with the strength of the distortion; "
        f"{TEST_SERIES} unseen photos, each with it and without it at the strengths 0 to 5."
    )
    columns = ("attribute", "series of", "prompts, coarse", "prompts, perceptual", "probe, coarse", "probe, perceptual")
    return Table("fine-grained attributes", note, columns, tuple(lines))


def disentanglement(subject: Subject) -> Table:
    """How well distortion and content can be read from each of the three features."""
    items = {split: variants(subject.data, split) for split in ("train", "test")}
    found = {split: subject.spaces(subject.coarse(some, f"variants {split}")) for split, some in items.items()}
    edits = {split: [item.row.edits[0] for item in some] for split, some in items.items()}
    kinds = {split: np.array([edit.kind for edit in some]) for split, some in edits.items()}
    strengths = {split: np.array([edit.strength for edit in some]) for split, some in edits.items()}
    photo = np.array([item.row.image for item in items["test"]])
    category, labels = _categories(subject)

    @cache
    def kind(space: str) -> probe.Values:
        read = probe.classify(found["train"][space], kinds["train"], found["test"][space])
        return (read == kinds["test"]).astype(float)

    def plain_kind(space: str) -> probe.Values:
        return kind(space)[strengths["test"] >= 3]

    def family(space: str) -> probe.Values:
        train, test = (np.array([KINDS[k].family for k in kinds[split]]) for split in ("train", "test"))
        return (probe.classify(found["train"][space], train, found["test"][space]) == test).astype(float)

    def strength(space: str) -> Estimate:
        read = probe.regress(found["train"][space], strengths["train"], found["test"][space])
        return agreement.measure(read, strengths["test"]).srcc

    def same_photo(space: str) -> probe.Values:
        return probe.neighbour_shares(found["test"][space], photo)

    def shows(space: str) -> probe.Values:
        return (
            probe.classify(category["train"][space], labels["train"], category["test"][space]) == labels["test"]
        ).astype(float)

    n, most = len(photo), max(np.mean(labels["test"] == label) for label in set(labels["test"]))
    readings: list[tuple[str, str, Callable[[str], probe.Values | Estimate]]] = [
        (f"perception: kind of distortion, 1 of {len(KINDS)} (n {n})", "linear probe, accuracy", kind),
        (
            f"perception: the same, of strengths 3 to 5 (n {sum(strengths['test'] >= 3)})",
            "linear probe, accuracy",
            plain_kind,
        ),
        (f"perception: family of distortion, 1 of 6 (n {n})", "linear probe, accuracy", family),
        (f"perception: strength of distortion (n {n})", "linear probe, SRCC", strength),
        (f"content: the photo under another distortion (n {n})", "nearest neighbour, accuracy", same_photo),
        (f"content: category, most frequent {most:.2f} (n {len(labels['test'])})", "linear probe, accuracy", shows),
    ]
    lines = tuple((what, how, *(_estimate(read(space)) for space in SPACES)) for what, how, read in readings)
    note = f"{VARIANTS['test']} variants of each unseen photo, each with one distortion; 95 % bootstrap intervals."
    return Table("disentanglement", note, ("what", "read by", *SPACES), lines)


def matrix(subject: Subject, sets: list[Dataset]) -> Table:
    """Cross-database: a linear probe learns from one set's training split and reads the others' test splits."""
    found = {}
    for dataset in sets:
        for split in ("train", "test"):
            items = dataset.of(split)
            coarse = subject.coarse([Item(Row(str(item.path.absolute()))) for item in items], f"{dataset.name} {split}")
            truth = np.array([dataset.unit(item) for item in items])
            found[dataset.name, split] = subject.spaces(coarse), truth
    lines = []
    for space in ("coarse", "perceptual"):
        for one in sets:
            train, target = found[one.name, "train"]
            read = [probe.regress(train[space], target, found[other.name, "test"][0][space]) for other in sets]
            figures = [
                agreement.measure(values, found[other.name, "test"][1]).srcc
                for values, other in zip(read, sets, strict=True)
            ]
            lines.append((space, one.name, *figures))
    note = "SRCC of a linear probe that learns from the rows' sets, on the test splits of the columns' sets."
    return Table("cross-database", note, ("feature", "learned from", *(one.name for one in sets)), tuple(lines))


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
    read = probe.classify(found["train"]["perceptual"], kinds["train"], found["test"]["perceptual"])
    photo = np.array([item.row.image for item in variants_of["test"]])
    technical = probe.regress(photos_of["train"], mos["train"], photos_of["test"])
    return (
        agreement.measure(technical, mos["test"]).srcc,
        _estimate((read == kinds["test"]).astype(float)),
        *(_estimate(probe.neighbour_shares(found["test"][space], photo)) for space in ("perceptual", "semantic")),
    )


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


def _truth(subject: Subject, item: Item, measured: str | None) -> float:
    if measured is None:
        return item.row.edits[0].strength if item.row.edits else 0.0
    return texts.measure(subject.encode.images.open(item.row))[measured]


def _categories(subject: Subject) -> tuple[dict[str, dict[str, probe.Features]], dict[str, NDArray[np.str_]]]:
    """The features and the categories of the photos that have one (OASIS), by split."""
    found, labels = {}, {}
    for split in ("train", "test"):
        listed = [photo for photo in photos(subject.data, "beauty", split) if photo.category]
        items = [Item(Row(str(photo.path.relative_to(subject.data)))) for photo in listed]
        found[split] = subject.spaces(subject.coarse(items, f"categories {split}"))
        labels[split] = np.array([photo.category for photo in listed])
    return found, labels


def _estimate(values: probe.Values | Estimate) -> Estimate:
    """The mean of (n,) values and its bootstrap interval."""
    if isinstance(values, Estimate):
        return values
    drawn = np.random.default_rng(0).integers(0, len(values), (1000, len(values)))
    low, high = np.percentile(values[drawn].mean(1), (2.5, 97.5))
    return Estimate(float(values.mean()), float(low), float(high))
