"""`declip-rt eval`: how well a model's scores agree with the MOS of a folder of rated photos."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from declip_rt.commands.running import Settings
from declip_rt.errors import ConfigError, ImageError
from declip_rt.extras import load
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import Agreement
from declip_rt.output import files
from declip_rt.output.records import Columns
from declip_rt.output.terminal import printable
from declip_rt.ratings import agreement, plot
from declip_rt.ratings.agreement import Array
from declip_rt.ratings.dataset import Rating, _find, read
from declip_rt.score import Score
from declip_rt.scorer import Scorer

COLUMNS = Columns({"path": str, "mos": float, "score": float, "error": str})


@dataclass(frozen=True)
class Scored:
    """What `bundle` says of the n photos of a dataset that could be scored, and what people say of them."""

    bundle: Bundle
    heads: Mapping[str, Array]  # scores (n,)
    mos: Array  # (n,)
    failed: int  # photos


@dataclass(frozen=True)
class Evaluation(Settings):
    """The options of `declip-rt eval`; its `--help` says what each means."""

    dataset: Path
    scores: Path | None = None
    image_column: str = "image"
    score_column: str = "mos"
    head: str = "technical"
    lower_is_better: bool = False
    plot: Path | None = None
    out: Path | None = None

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
        file = self.scores or _find(self.dataset)
        self._check(file)
        ratings = read(file, self.dataset, self.image_column, self.score_column)
        with self.open() as scorer:
            heads = [head.name for head in scorer.bundle.heads]
            if self.head not in heads:
                raise ConfigError(f"--head {self.head}: {scorer.bundle.name} has only {', '.join(heads)}")
            sink = files.open_file(self.out, COLUMNS) if self.out else None
            rows, mos = [], []
            for rating, score in self._scored(scorer, ratings):
                row = COLUMNS.record(path=str(rating.path), mos=rating.mos)
                if isinstance(score, ImageError):
                    row["error"] = str(score)
                else:
                    values = {"technical": score.technical, "aesthetic": score.aesthetic, **score.attributes}
                    row["score"] = values[self.head]
                    rows.append([values[name] for name in heads])
                    mos.append(rating.mos)
                if sink:
                    sink.write(row)
            if sink:
                sink.close()
        table = np.array(rows).reshape(-1, len(heads))
        return Scored(scorer.bundle, dict(zip(heads, table.T, strict=True)), np.array(mos), len(ratings) - len(mos))

    def show(self, scored: Scored, found: Agreement, title: str) -> None:
        """Prints the figures and, where this was asked for, draws them."""
        print(title)
        print("metric      value   95 % interval         photos")
        for name, estimate in found.figures().items():
            interval = f"{estimate.low:.3f} to {estimate.high:.3f}"
            print(f"{name:<6}{estimate.value:>11.3f}   {interval:<20}{found.n:>8}")
        if scored.failed:
            print(f"failed, and not in these figures: {scored.failed} of {scored.failed + found.n} photos")
        if self.plot is not None:
            labels = (f"{self.head} of {scored.bundle.name}", self.target)
            plot.draw(self.plot, scored.heads[self.head], scored.mos, found, title=title, labels=labels)

    def _check(self, ratings: Path) -> None:
        load("scipy.stats")  # better missed before the scoring than after it
        if self.plot is not None:
            plot.check(self.plot)
        if self.out is not None:
            files.check_suffix(self.out)
            if self.out.resolve() == ratings.resolve():
                raise ConfigError(f"--out {self.out} would overwrite the ratings; name another file")

    def _scored(self, scorer: Scorer, ratings: list[Rating]) -> Iterator[tuple[Rating, Score | ImageError]]:
        scores = scorer.score_many([rating.path for rating in ratings], return_errors=True)
        with self.progress(len(ratings)) as progress:
            for rating, score in zip(ratings, scores, strict=True):
                if isinstance(score, ImageError):
                    progress.write(printable(f"{rating.path}: {score}"), file=sys.stderr)
                yield rating, score
                progress.update()
