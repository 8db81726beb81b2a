"""`declip-rt eval`: how well a model's scores agree with the MOS of a folder of rated photos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from declip_rt.commands import running
from declip_rt.commands.running import Running, parsed
from declip_rt.errors import ConfigError, ImageError
from declip_rt.extras import load
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import Agreement
from declip_rt.output import files, plot, target
from declip_rt.output.records import Columns
from declip_rt.output.terminal import printable
from declip_rt.ratings import agreement
from declip_rt.ratings.agreement import Array
from declip_rt.ratings.dataset import Rating, find_ratings, read
from declip_rt.score import Score
from declip_rt.scorer import Scorer

COLUMNS = Columns({"path": str, "mos": float, "score": float, "error": str})
DESCRIPTION = "Score a folder of photos that people rated, and say how well the scores agree with the ratings (MOS)."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_rating_options(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write path, mos, score: .csv, .jsonl or .parquet")
    parser.add_argument("--overwrite", action="store_true", help="replace the rows that --out has")
    parser.set_defaults(command=run)


def add_rating_options(parser: argparse.ArgumentParser) -> None:
    """Those that `declip-rt calibrate` has, too."""
    add = parser.add_argument
    add("dataset", type=Path, metavar="DATASET", help="a folder of images with a CSV of their ratings")
    add(
        "--scores",
        dest="scores_file",
        type=Path,
        metavar="FILE.csv",
        help="the ratings (default: the only scores.csv in DATASET)",
    )
    add("--image-column", default="image", metavar="NAME", help="the images, from the CSV's folder or DATASET")
    add("--score-column", default="mos", metavar="NAME", help="the mean opinion scores (default: mos)")
    add("--head", default="technical", metavar="NAME", help="aesthetic, or an attribute (default: technical)")
    add(
        "--lower-is-better",
        action="store_true",
        help="the score should fall as the ratings rise: for DMOS, or a head such as noisiness",
    )
    add("--plot", dest="plot_file", type=Path, metavar="FILE", help="draw scores against ratings: .png or .svg")
    running.add_options(parser)
    running.add_batch_options(parser)


def run(options: argparse.Namespace) -> int:
    return parsed(options, Evaluation).run()


@dataclass(frozen=True)
class Scored:
    """What `bundle` says of the n photos of a dataset that could be scored, and what people say of them."""

    bundle: Bundle
    heads: Mapping[str, Array]  # scores (n,)
    mos: Array  # (n,)
    failed: int  # photos


@dataclass(frozen=True)
class Evaluation:
    """The options of `declip-rt eval`; its `--help` says what each means."""

    running: Running
    dataset: Path
    scores_file: Path | None = None
    image_column: str = "image"
    score_column: str = "mos"
    head: str = "technical"
    lower_is_better: bool = False
    plot_file: Path | None = None
    out: Path | None = None
    overwrite: bool = False

    def run(self) -> int:
        """Scores, measures and prints, and returns the exit code: 0 all well, 1 a photo failed. Raises DeclipError."""
        scored = self.score()
        found = agreement.measure(scored.heads[self.head], -scored.mos if self.lower_is_better else scored.mos)
        self.show(scored, found, f"{self.head} of {scored.bundle.name} against {self.target}")
        return 1 if scored.failed else 0

    @property
    def name(self) -> str:
        return printable(self.dataset.resolve().name)

    @property
    def target(self) -> str:
        """What the scores are compared with, in words."""
        return f"{printable(self.score_column)} of {self.name}"

    def score(self) -> Scored:
        """Scores the photos. Those that fail are named on stderr. Raises DeclipError."""
        file = self.scores_file or find_ratings(self.dataset)
        self._check(file)
        ratings = read(file, self.dataset, self.image_column, self.score_column)
        list(target.spare([str(rating.path) for rating in ratings], filter(None, (self.out, self.plot_file))))
        with target.locked(self.out.resolve()) if self.out else nullcontext(), self.running.open() as scorer:
            heads = [head.name for head in scorer.bundle.heads]
            if self.head not in heads:
                raise ConfigError(f"--head {self.head}: {scorer.bundle.name} has only {', '.join(heads)}")
            given = [(rating, score) for rating, score in self._rows(scorer, ratings) if isinstance(score, Score)]
        table = np.array([[score[head] for head in heads] for _, score in given]).reshape(-1, len(heads))
        mos = np.array([rating.mos for rating, _ in given])
        return Scored(scorer.bundle, dict(zip(heads, table.T, strict=True)), mos, len(ratings) - len(given))

    def show(self, scored: Scored, found: Agreement, title: str) -> None:
        """Prints the figures and, where this was asked for, draws them."""
        print(title)
        print("metric      value   95 % interval         photos")
        for name, estimate in found.figures().items():
            interval = f"{estimate.low:.3f} to {estimate.high:.3f}"
            print(f"{name:<6}{estimate.value:>11.3f}   {interval:<20}{found.n:>8}")
        if scored.failed:
            print(f"failed, and not in these figures: {scored.failed} of {scored.failed + found.n} photos")
        if self.plot_file is not None:
            labels = (f"{self.head} of {scored.bundle.name}", self.target)
            plot.draw(self.plot_file, scored.heads[self.head], scored.mos, found, title=title, labels=labels)

    def _check(self, ratings: Path) -> None:
        load("scipy.stats")  # better missed before the scoring than after it
        if self.plot_file is not None:
            plot.check(self.plot_file)
        target.check_distinct({"--scores": ratings, "--out": self.out, "--plot": self.plot_file})
        if self.out is not None:
            target.place("--out", self.out, target.ROWS)
            if files.is_begun(self.out) and not self.overwrite:
                raise ConfigError(f"{self.out} has rows: --overwrite replaces them")

    def _rows(self, scorer: Scorer, ratings: list[Rating]) -> Iterator[tuple[Rating, Score | ImageError]]:
        """What `_scored` gives, each written to --out as it comes."""
        sink = files.open_file(self.out.resolve(), COLUMNS) if self.out else None
        for rating, score in self._scored(scorer, ratings):
            if sink:
                row = COLUMNS.record(path=str(rating.path), mos=rating.mos)
                if isinstance(score, ImageError):
                    row["error"] = score.reason
                else:
                    row["score"] = score[self.head]
                sink.write(row)
            yield rating, score
        if sink:
            sink.close()

    def _scored(self, scorer: Scorer, ratings: list[Rating]) -> Iterator[tuple[Rating, Score | ImageError]]:
        scores = scorer.score_many([rating.path for rating in ratings], return_errors=True)
        with self.running.progress(len(ratings)) as progress:
            for rating, score in zip(ratings, scores, strict=True):
                if isinstance(score, ImageError):
                    progress.write(printable(f"{rating.path}: {score.reason}"), file=sys.stderr)
                yield rating, score
                progress.update()
