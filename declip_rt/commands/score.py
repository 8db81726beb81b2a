"""`declip-rt score`: from the arguments to the sinks and the exit code."""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from declip_rt.backends.cuda.usage import Watch
from declip_rt.commands import inputs, running
from declip_rt.commands.inputs import Inputs
from declip_rt.commands.running import EXIT_CODES, Running, parsed
from declip_rt.errors import ConfigError
from declip_rt.images import sources
from declip_rt.output import files, records, target, thumbnails
from declip_rt.output.kept import Kept
from declip_rt.output.records import Columns, Record
from declip_rt.output.selection import Part, Paths, Ranked
from declip_rt.output.tally import Tally
from declip_rt.output.terminal import Table
from declip_rt.prompts import parse
from declip_rt.scorer import Scored, Scorer

logger = logging.getLogger(__name__)
STDIO = "-"
DESCRIPTION = "Score images. Prints a table; --out and --html write files. Failed inputs become rows with an error."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXIT_CODES
    add = parser.add_argument
    inputs.add_options(parser)
    add(
        "--out",
        metavar="FILE",
        help="write rows to a .csv, .jsonl or .parquet file; - writes JSONL to stdout, not a table",
    )
    add(
        "--html",
        dest="html_file",
        type=Path,
        metavar="FILE",
        help="write a page to look at in a browser: photos, histograms, failures",
    )
    add(
        "--resume",
        action="store_true",
        help="go on with --out: keep its rows but those whose file, model or prompts changed, and score the rest",
    )
    add("--overwrite", action="store_true", help="start --out again, in place of the rows that it has")
    for option, what in (
        ("--prompts", "add a score of your own: how much nearer the photo's look is to HIGH than to LOW; repeatable"),
        ("--semantic-prompts", "the same of what the photo shows"),
    ):
        add(option, action="append", default=[], metavar="[NAME=]HIGH:LOW", help=what)
    add("--sort", metavar="COLUMN", help="sort the table by a column, highest first")
    add("--worst-first", action="store_true", help="sort the table, lowest first (by --sort, else technical)")
    add("--top", metavar="N", help="show only the N highest, or N%% of all (by --sort, else technical)")
    add("--bottom", metavar="N", help="show only the N lowest, or N%% of all; with --top, both ends")
    add(
        "--paths",
        dest="only_paths",
        action="store_true",
        help="print paths alone, in place of the table: of --top and --bottom, of what is below --fail-below, or all",
    )
    add("--null", "-0", action="store_true", help="end each of --paths by a NUL, as xargs -0 reads them")
    add("--fail-below", type=float, metavar="X", help="exit with 1 if a technical score is below X; the table marks it")
    add("--stats", dest="print_stats", action="store_true", help="print where the time went, and what the GPU did")
    running.add_options(parser)
    running.add_batch_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    return parsed(options, Job).run()


@dataclass(frozen=True)
class Job:
    """The options of `declip-rt score`; its `--help` says what each means."""

    running: Running
    inputs: Inputs
    out: str | None = None
    html_file: Path | None = None
    resume: bool = False
    overwrite: bool = False
    prompts: Sequence[str] = ()
    semantic_prompts: Sequence[str] = ()
    sort: str | None = None
    worst_first: bool = False
    top: str | None = None
    bottom: str | None = None
    only_paths: bool = False
    null: bool = False
    fail_below: float | None = None
    print_stats: bool = False

    def run(self) -> int:
        """Scores everything, and returns the exit code: 0 all well, 1 a failure or a score below `fail_below`."""
        out, page = self._outputs()
        own = (*parse(self.prompts, "perceptual"), *parse(self.semantic_prompts, "semantic"))
        tally = Tally(self.fail_below)
        with (
            target.locked(out) if out else nullcontext(),
            target.locked(page) if page else nullcontext(),
            self.running.open(own) as scorer,
        ):
            columns = self._columns(scorer)
            skipped = sources.Skipped()
            outputs = [file for file in (out, page) if file]
            ahead, rest, total = self.inputs.images(outputs, skipped, all_ahead=self.resume)
            watch = Watch(scorer.engine.index if self.print_stats else None)
            with self.running.progress(total) as progress, watch:
                shown: list[files.Sink] = [tally, *self._shown(scorer, columns, page, progress)]
                kept = Kept(columns, ahead if self.resume else [], shown)
                sinks = [*self._out(columns, out, kept), *shown]
                progress.update(len(kept.keys))
                paths = (path for path in itertools.chain(ahead, rest) if records.key(path) not in kept.keys)
                for record in _rows(scorer, columns, paths):
                    for sink in sinks:
                        sink.write(record)
                    progress.update()
            for sink in sinks:
                sink.close()
            if self.print_stats:
                print(scorer.stats.summary(), file=sys.stderr)
                if watch.usage is not None:
                    print(watch.usage, file=sys.stderr)
        logger.info(tally.summary(kept, skipped))
        return 1 if tally.failed or tally.below else 0

    def _outputs(self) -> tuple[Path | None, Path | None]:
        """The files of --out and --html. Raises ConfigError where the options are at odds."""
        self.inputs.check("score")
        if (self.resume or self.overwrite) and self.out in (None, STDIO):
            option = "--resume goes on with" if self.resume else "--overwrite replaces"
            raise ConfigError(f"{option} the rows of a file: give it with --out FILE")
        if self.null and not self.only_paths:
            raise ConfigError("--null is for --paths: add it")
        if self.only_paths and self.out == STDIO:
            raise ConfigError("--paths and --out - both write to standard output: choose one")
        self._ends()
        out = None if self.out in (None, STDIO) else target.place("--out", self.out or "", target.ROWS)
        page = None if self.html_file is None else target.place("--html", self.html_file, target.PAGE)
        beside = thumbnails.check(page) if page else None
        files_of = {"--list": self.inputs.listed, "--out": out, "--html": page, "the thumbnails of --html": beside}
        target.check_distinct(files_of)
        if out:
            inputs.check_begun(out, resume=self.resume, overwrite=self.overwrite)
        return out, page

    def _ends(self) -> list[Part | None]:
        """--top and --bottom. Raises ConfigError."""
        given = (("--top", self.top), ("--bottom", self.bottom))
        return [None if text is None else Part.parse(option, text) for option, text in given]

    def _columns(self, scorer: Scorer) -> Columns:
        precision, scale = scorer.engine.precision, self.running.decode_scale
        icc = self.running.icc
        columns = Columns.of(scorer.bundle, scorer.prompts, precision=precision, decode_scale=scale, icc=icc)
        if self.sort and self.sort not in columns.types:
            raise ConfigError(f"--sort {self.sort}: no such column; choose one of {', '.join(columns.types)}")
        return columns

    def _out(self, columns: Columns, out: Path | None, kept: Kept) -> list[files.Sink]:
        return [] if out is None else [files.open_file(out, columns, kept if self.resume else None)]

    def _shown(self, scorer: Scorer, columns: Columns, page: Path | None, progress: tqdm[Any]) -> Iterator[files.Sink]:
        prompts = [p.name for p in scorer.prompts]
        top, bottom = self._ends()
        shown: files.Sink
        if self.out == STDIO:
            shown = files.Stdout(columns)
        elif self.only_paths:
            shown = Paths(None if top or bottom else self.fail_below, b"\0" if self.null else b"\n")
        else:
            shown = Table(scorer.bundle, lambda line: progress.write(line, file=sys.stdout), prompts, self.fail_below)
        ranked = self.sort is not None or self.worst_first or top or bottom
        yield Ranked(shown, self.sort or "technical", top, bottom, self.worst_first) if ranked else shown
        if page is not None:
            from declip_rt.output.html import HtmlPage  # Jinja takes its time

            yield HtmlPage(page, scorer.bundle, device=str(scorer.engine), prompts=prompts, stats=scorer.stats)


def _rows(scorer: Scorer, columns: Columns, paths: Iterator[str]) -> Iterator[Record]:
    def row(path: str, done: Scored) -> Record:
        assert done.facts is not None
        return records.scored(columns, path, done.facts, scorer._score_of(done), scorer.bundle)

    return inputs.rows_of(scorer, columns, paths, row)
