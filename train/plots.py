"""Pictures of what a model reads from unseen photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from declip_rt.output import plot
from declip_rt.ratings import agreement
from train.compare.subject import Subject, series, variants
from train.distortions import KINDS, STRENGTHS
from train.features import Item
from train.ladder import STEPS, Ladder
from train.rated import rows

CURVE_PHOTOS = 20


def scatter(subject: Subject, path: Path) -> None:
    """The technical head against the MOS of the test split."""
    listed = rows(subject.data, "mos", "test")
    coarse = subject.coarse([Item(row) for row in listed], "mos test")
    scores, mos = _technical(subject, coarse), np.array([row.scores["mos"] for row in listed])
    found = agreement.measure(scores, mos)
    plot.draw(path, scores, mos, found, title=f"{len(mos)} unseen photos", labels=("technical", "MOS"))


def curves(subject: Subject, path: Path) -> None:
    """The mean technical score against the strength of each kind of distortion."""
    families = sorted({kind.family for kind in KINDS.values()})
    figure = Figure(figsize=(11, 6), dpi=110, layout="constrained")
    grid = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    for axes, family in zip(grid, families, strict=True):
        for name in (name for name, kind in KINDS.items() if kind.family == family):
            items = series(subject.data, "test", name, CURVE_PHOTOS)
            scores = _technical(subject, subject.coarse(items, f"{name} curve")).reshape(-1, 1 + len(STRENGTHS))
            axes.plot((0, *STRENGTHS), scores.mean(0), marker=".", label=name)
        _finish(axes, family)
        axes.legend(fontsize=7, frameon=False)
    figure.supxlabel("strength")
    figure.supylabel(f"technical, mean of {CURVE_PHOTOS} unseen photos")
    figure.savefig(path)


def spaces(subject: Subject, path: Path) -> None:
    """The first two principal components of the features of distorted unseen photos, colored by family."""
    items = variants(subject.data, "test")
    family = np.array([KINDS[item.row.edits[0].kind].family for item in items])
    found = subject.spaces(subject.coarse(items, "variants test"))
    figure = Figure(figsize=(11, 4), dpi=110, layout="constrained")
    for axes, (space, feature) in zip(figure.subplots(1, 3), found.items(), strict=True):
        places = PCA(2, random_state=0).fit_transform(feature)
        for name in sorted(set(family)):
            axes.scatter(*places[family == name].T, s=5, alpha=0.5, linewidths=0, label=name)
        axes.set_xticks([])
        axes.set_yticks([])
        _finish(axes, space)
    axes.legend(fontsize=7, markerscale=2, frameon=False)
    figure.savefig(path)


def ladders(climbed: Sequence[Ladder], path: Path) -> None:
    """The mean technical score along ladders of compression, with its 95 % interval."""
    with plot.axes_in(path, f"{len(climbed[0].scores)} unseen pictures without loss, and their compression") as axes:
        for ladder in climbed:
            means = ladder.means()
            line = axes.plot(STEPS, [mean.value for mean in means], marker=".", label=ladder.codec)
            bounds = [mean.low for mean in means], [mean.high for mean in means]
            axes.fill_between(STEPS, *bounds, alpha=0.15, linewidth=0, color=line[0].get_color())
        axes.set_ylabel("technical, mean and 95 % interval")
        axes.legend(frameon=False)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


@torch.no_grad()
def _technical(subject: Subject, coarse: torch.Tensor) -> np.ndarray:
    """(N,) of the head that ships."""
    return subject.model.read(coarse, subject.model.perceptual(coarse))[:, 0].numpy().astype(np.float64)
