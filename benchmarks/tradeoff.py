"""Accuracy against time: `python -m benchmarks.tradeoff BUNDLE... --data DIR`.

Scores photos of 500x500 on the CPU with each bundle in turn, PASSES times, from files and from memory, and writes a
table beside the accuracy that the bundles' cards tell. Photos are those of DIR/live_challenge, or generated.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from declip_rt.bench.machine import Machine
from declip_rt.bench.report import number
from declip_rt.errors import DeclipError
from declip_rt.images.decode import RGB, decode
from declip_rt.model.bundle import Bundle
from declip_rt.scorer import Scorer
from train.tables import Table

PASSES = 5  # over the photos, by each bundle
WARM = 16  # photos before a pass counts
HEADS = ("technical", "aesthetic")
SET = "500x500"
COLUMNS = ("bundle", "MB", "views", "precision", "ms a photo, files", "memory", "times as fast", *HEADS)


def measure(bundles: Sequence[str], paths: list[str]) -> Table:
    """The table of the bundles, whose times are medians of passes that took turns."""
    pictures = [decode(Path(path).read_bytes()) for path in paths]
    with ExitStack() as stack:
        scorers = [stack.enter_context(Scorer(bundle, "cpu")) for bundle in bundles]
        for scorer in scorers:
            score(scorer, paths[:WARM])
        files = [[score(scorer, paths) for scorer in scorers] for _ in range(PASSES)]
        memory = [[score(scorer, pictures) for scorer in scorers] for _ in range(PASSES)]
        rows = tuple(lines(scorers, np.array(files), np.array(memory)))
    note = (
        f"{len(paths)} photos of {SET}, {PASSES} passes by each bundle in turn: medians. `times as fast` is by files, "
        f"beside {scorers[0].bundle.name}, with the lowest and the highest of the passes. "
        "SRCC with people on hold-outs and its 95 % interval are those of the cards."
    )
    return Table("Accuracy against time", note, COLUMNS, rows)


def score(scorer: Scorer, images: Sequence[str] | Sequence[RGB]) -> float:
    """ms a photo. Raises ImageError for one that cannot be scored."""
    began = time.perf_counter()
    for _ in scorer.score_many(images):
        pass
    return 1e3 * (time.perf_counter() - began) / len(images)


def lines(
    scorers: Sequence[Scorer], files: NDArray[np.float64], memory: NDArray[np.float64]
) -> Iterator[tuple[str | int, ...]]:
    """files, memory: ms a photo (PASSES, scorers)."""
    faster = files[:, :1] / files
    for i, scorer in enumerate(scorers):
        bundle = scorer.bundle
        yield (
            bundle.name,
            f"{size(bundle) / 1e6:.1f}",
            f"{bundle.views.shape[0]} of {bundle.views.size}",
            scorer.engine.precision,
            *(number(float(np.median(times[:, i]))) for times in (files, memory)),
            f"{np.median(faster[:, i]):.2f} ({faster[:, i].min():.2f} to {faster[:, i].max():.2f})",
            *(accuracy(bundle, head) for head in HEADS),
        )


def size(bundle: Bundle) -> int:
    """Bytes on disk, of all files."""
    return sum((bundle.path / part.file).stat().st_size for part in bundle.manifest.files)


def accuracy(bundle: Bundle, head: str) -> str:
    """The head's SRCC on the card."""
    found = (figure for figure in bundle.manifest.card.figures if figure.what.startswith(f"{head} SRCC"))
    return next(map(str, found), "not measured")


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.tradeoff", description=__doc__)
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE", help="a folder or an embedded name; the first is 1.00")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data folder; without it, photos are generated")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", metavar="DIR")
    options = parser.parse_args()
    try:
        with TemporaryDirectory() as folder:
            table = measure(options.bundles, peers.photos(options.data, Path(folder))[SET])
    except DeclipError as error:
        print(f"tradeoff: {error}", file=sys.stderr)
        return 2
    head = f"`python -m benchmarks.tradeoff BUNDLE...`, {datetime.date.today()}, {Machine.here()}."
    text = table.markdown().replace("## ", "# ", 1).replace(table.note, f"{head}\n{table.note}", 1)
    print(text)
    (options.out / "tradeoff.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
