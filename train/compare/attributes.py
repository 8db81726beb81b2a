"""How well single attributes of a photo are told apart."""

from __future__ import annotations

import numpy as np

from train import findings, intervals, probe, texts
from train.compare.subject import Subject, series
from train.features import Item
from train.model import ATTRIBUTES
from train.tables import Table

READINGS = tuple((how, space) for how in ("prompts", "probe") for space in ("coarse", "perceptual"))
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


def table(subject: Subject) -> Table:
    """Single attributes, by prompts and by a linear probe, on series of one distortion."""
    lines, claims = [], []
    for name, (kind, _) in SERIES_OF.items():
        read, truth, photo = _read(subject, name)
        agree = intervals.srcc_with(truth)
        lines.append((name, kind, *(intervals.measure(values, agree, photo) for values in read.values())))
        sides = ((space, read["prompts", space]) for space in ("perceptual", "coarse"))
        claims.append(findings.compare(f"{name} by prompts (zero-shot), SRCC", *sides, agree, photo))
    note = (
        f"SRCC with the measured brightness, colorfulness, RMS contrast, or with the strength of the distortion; "
        f"{TEST_SERIES} unseen photos, each with it and without it at the strengths 0 to 5."
    )
    columns = ("attribute", "series of", *(f"{how}, {space}" for how, space in READINGS))
    return Table("fine-grained attributes", note, columns, tuple(lines), tuple(claims))


def _read(subject: Subject, name: str) -> tuple[dict[tuple[str, str], probe.Values], probe.Values, list[str]]:
    """What each of READINGS gives for the test series of an attribute (N,), the truth, and the photo of each."""
    kind, measured = SERIES_OF[name]
    items = {
        split: series(subject.data, split, kind, count)
        for split, count in (("train", TRAIN_SERIES), ("test", TEST_SERIES))
    }
    truth = {split: np.array([_truth(subject, item, measured) for item in some]) for split, some in items.items()}
    found = {split: subject.spaces(subject.coarse(some, f"{kind} {split}")) for split, some in items.items()}
    low, high = subject.prompts(ATTRIBUTES[name][2])
    sign = -1 if name in ("sharpness", "depth_of_field") else 1  # which fall as their distortion grows
    read = {}
    for how, space in READINGS:
        train, test = found["train"][space], found["test"][space]
        read[how, space] = (
            sign * probe.lean(test, low, high) if how == "prompts" else probe.regress(train, truth["train"], test)
        )
    return read, truth["test"], [item.row.image for item in items["test"]]


def _truth(subject: Subject, item: Item, measured: str | None) -> float:
    if measured is None:
        return item.row.edits[0].strength if item.row.edits else 0.0
    return texts.measure(subject.encode.images.open(item.row))[measured]
