"""Kinds of things, found by own words in each of the three features."""

from __future__ import annotations

import numpy as np

from train import content, findings, intervals, probe
from train.compare.subject import SPACES, Subject
from train.features import Item
from train.findings import Finding
from train.i2t.manifest import Row
from train.tables import Table
from train.wording import LEAST


def table(subject: Subject) -> Table | None:
    """A row for each pair of words, and for the mean of each kind's; None where no kind is shown often enough."""
    labelled = content.labelled(subject.data)
    items = [Item(Row(photo.path.relative_to(subject.data).as_posix())) for photo in labelled]
    found = subject.spaces(subject.coarse(items, "labelled test"))
    lines: list[tuple[object, ...]] = []
    claims: list[Finding] = []
    for name, kind in content.kinds().items():
        known = [i for i, photo in enumerate(labelled) if photo.shows[name] is not None]
        truth = np.array([labelled[i].shows[name] for i in known], bool)
        if min(truth.sum(), (~truth).sum()) < LEAST:
            continue
        high, low = subject.prompts(kind.words)
        read = {
            space: np.stack(
                [probe.lean(found[space][known], low[i : i + 1], high[i : i + 1]) for i in range(len(kind.words))]
            )
            for space in SPACES
        }
        shown = f"{name}, {truth.sum()} of {len(truth)} photos"
        lines.append((shown, "mean", *(intervals.measure(read[space], intervals.auc_of(truth)) for space in SPACES)))
        for i, pair in enumerate(kind.words):
            lines.append(
                (
                    shown,
                    ":".join(pair),
                    *(intervals.measure(read[space][[i]], intervals.auc_of(truth)) for space in SPACES),
                )
            )
        claims.extend(
            findings.compare(
                f"{name} by own words (zero-shot), AUC",
                ("semantic", read["semantic"]),
                (other, read[other]),
                intervals.auc_of(truth),
            )
            for other in ("perceptual", "coarse")
        )
    note = "AUC of photos of the test splits whose labels say whether they show it; 95 % bootstrap intervals."
    return (
        Table("content by own words", note, ("what", "words", *SPACES), tuple(lines), tuple(claims)) if lines else None
    )
