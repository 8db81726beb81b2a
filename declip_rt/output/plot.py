"""Pictures: their frame, and that of an evaluation, scores against MOS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from declip_rt.errors import ConfigError
from declip_rt.extras import load
from declip_rt.model.manifest import Agreement
from declip_rt.output import target
from declip_rt.ratings.agreement import Array, Logistic

PICTURE = (".png", ".svg")


def check(path: Path) -> None:
    """Raises ConfigError where `draw` could not write `path`. Call it before the scoring."""
    target.place("--plot", path, PICTURE)
    load("matplotlib.figure")


@contextmanager
def axes_in(path: Path, title: str = "", width: float = 6.0) -> Iterator[Any]:
    """The axes of a picture, which is written to `path` when its block ends. width: in inches.

    Raises ConfigError where `path` cannot be written, Unavailable where matplotlib is not installed.
    """
    figure = load("matplotlib.figure").Figure(figsize=(width, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=8, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    yield axes
    try:
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def draw(path: Path, scores: Array, mos: Array, found: Agreement, *, title: str, labels: tuple[str, str]) -> None:
    """Draws the `scores` (n,) and the `mos` (n,) of n photos, their logistic fit, and the figures found.

    `labels` name the axes of the scores and of the MOS. Raises ConfigError where `path` cannot be written.
    """
    figures = [f"{name} {estimate}" for name, estimate in found.figures().items()]
    lines = [title, ", ".join(figures[:2]), ", ".join(figures[2:])]
    with axes_in(path, "\n".join(lines), width=5.2) as axes:
        axes.scatter(scores, mos, s=10, alpha=0.45, linewidths=0, color="#3b6ea5")
        across = np.linspace(scores.min(), scores.max(), 200)
        axes.plot(across, Logistic.fit(scores, mos)(across), color="#c8502d", linewidth=2)
        axes.set_xlabel(labels[0], parse_math=False)
        axes.set_ylabel(labels[1], parse_math=False)
