"""Agreement with people, on technical and aesthetic quality."""

from __future__ import annotations

import numpy as np
import torch

from declip_rt.ratings import agreement
from train import findings, heads, intervals, probe
from train.compare.subject import Subject
from train.features import Item
from train.model import ANTONYMS, new_heads
from train.rated import Rated, rows
from train.tables import Table

WHO = {"coarse": "CLIP, coarse", "perceptual": "DeCLIP, perceptual"}


def table(subject: Subject, name: str, head: str, training: Rated) -> Table:
    """Agreement with people on the test split of `name` (mos or beauty), read in three ways from two features."""
    splits = {split: rows(subject.data, name, split) for split in ("train", "test")}
    found = {
        split: subject.spaces(subject.coarse([Item(r) for r in some], f"{name} {split}"))
        for split, some in splits.items()
    }
    truth = {split: np.array([row.scores[name] for row in some]) for split, some in splits.items()}
    low, high = subject.prompts(ANTONYMS[head])
    readings, lines = {}, []
    for space, who in WHO.items():
        train, test = found["train"][space], found["test"][space]
        readings[space] = {
            "prompts": probe.lean(test, low, high),
            "linear probe": probe.regress(train, truth["train"], test),
            "trained head": _head(subject, space, head, training, test),
        }
        for how, values in readings[space].items():
            got = agreement.measure(values, truth["test"])
            lines.append((who, how, got.srcc, got.plcc, got.krcc, got.rmse))
    n = len(truth["test"])
    note = (
        f"{n} photos of the test split; 95 % bootstrap intervals. PLCC and RMSE after the four-parameter logistic fit."
    )
    claims = tuple(
        findings.compare(
            f"{head} quality by {how}{' (zero-shot)' * (how == 'prompts')}, SRCC",
            *((space, readings[space][how]) for space in ("perceptual", "coarse")),
            intervals.srcc_with(truth["test"]),
        )
        for how in readings["coarse"]
    )
    columns = ("feature", "read by", "SRCC", "PLCC", "KRCC", "RMSE")
    return Table(f"{head} quality", note, columns, tuple(lines), claims)


def _head(subject: Subject, space: str, head: str, training: Rated, test: probe.Features) -> probe.Values:
    """The head that ships reads the perceptual feature; one just like it is fit to the coarse feature."""
    quality = subject.model.quality
    if space == "coarse":
        quality = new_heads(test.shape[1])
        heads.learn(quality, subject.config, training)
    with torch.no_grad():
        return quality[head](torch.from_numpy(test)).numpy().astype(np.float64)
