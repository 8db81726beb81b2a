"""`declip-rt score`: from the arguments to the sinks and the exit code."""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from declip_rt.backends.cuda.usage import Watch
from declip_rt.commands import running
from declip_rt.commands.running import EXIT_CODES, Running, parsed
from declip_rt.errors import ConfigError
from declip_rt.images import lists, sources
from declip_rt.output import files, records, target, thumbnails
from declip_rt.output.records import Columns, Record
from declip_rt.output.selection import Part, Paths, Ranked
from declip_rt.output.terminal import Table
from declip_rt.prompts import parse
from declip_rt.scorer import Scorer

logger = logging.getLogger(__name__)
STDIO = "-"
AHEAD = 5000  # files that are listed before the first is scored
DESCRIPTION = "Score images. Prints a table; --out and --html write files. Failed inputs become rows with an error."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXIT_CODES
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="a file, a folder (recursive), a glob, or - for paths on stdin")
    add(
        "--list",
        dest="listed",
        metavar="FILE",
        help="a text file with a path a line, or a .csv, .tsv, .jsonl or .parquet file with a column path or image",
    )
    add(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help="leave out files and folders of this name; repeatable",
    )
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
    paths: tuple[str, ...] = ()
    listed: str | None = None
    exclude: Sequence[str] = ()
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
            ahead, rest = self._images([file for file in (out, page) if file], skipped)
            total = len(ahead) if self.resume or len(ahead) < AHEAD else None
            watch = Watch(scorer.engine.index if self.print_stats else None)
            with self.running.progress(total) as progress, watch:
                shown: list[files.Sink] = [tally, *self._shown(scorer, columns, page, progress)]
                kept = _Kept(columns, ahead if self.resume else [], shown)
                sinks = [*self._out(columns, out, kept), *shown]
                progress.update(len(kept.keys))
                paths = (path for path in itertools.chain(ahead, rest) if records.key(path) not in kept.keys)
                for record in _score(scorer, columns, paths):
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
        if not self.paths and not self.listed:
            raise ConfigError("give images to score: declip-rt score PATH... (declip-rt score --help)")
        if (self.resume or self.overwrite) and self.out in (None, STDIO):
            option = "--resume goes on with" if self.resume else "--overwrite replaces"
            raise ConfigError(f"{option} the rows of a file: give it with --out FILE")
        if self.resume and self.overwrite:
            raise ConfigError("choose --resume or --overwrite: one keeps the rows of --out, the other does not")
        if self.null and not self.only_paths:
            raise ConfigError("--null is for --paths: add it")
        if self.only_paths and self.out == STDIO:
            raise ConfigError("--paths and --out - both write to standard output: choose one")
        self._ends()
        out = None if self.out in (None, STDIO) else target.place("--out", self.out or "", target.ROWS)
        page = None if self.html_file is None else target.place("--html", self.html_file, target.PAGE)
        beside = thumbnails.check(page) if page else None
        files_of = {"--list": self.listed, "--out": out, "--html": page, "the thumbnails of --html": beside}
        target.check_distinct(files_of)
        if out and files.is_begun(out) and not (self.resume or self.overwrite):
            raise ConfigError(f"{self.out} has rows: --resume goes on with them, --overwrite starts again")
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

    def _images(self, outputs: list[Path], skipped: sources.Skipped) -> tuple[list[str], Iterator[str]]:
        """The first paths, or all of them where rows are kept, and the others."""
        rest = target.spare(self._expand(skipped), outputs)
        ahead = list(rest if self.resume else itertools.islice(rest, AHEAD))
        if not ahead:
            found = f" ({skipped})" if skipped else ""
            raise ConfigError(
                f"no images found{found}; give files, folders or globs (folders give files with an image's suffix)"
            )
        return ahead, rest

    def _expand(self, skipped: sources.Skipped) -> Iterator[str]:
        named: list[str] = []
        for argument in self.paths:
            if argument == STDIO:
                named += lists.split_paths(_stdin())
            else:
                named.append(argument)
        if self.listed is not None:
            named += lists.read_list(self.listed)
        return sources.expand(named, self.exclude, skipped)

    def _out(self, columns: Columns, out: Path | None, kept: _Kept) -> list[files.Sink]:
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


@dataclass
class Tally:
    """Counts what went by."""

    limit: float | None
    scored: int = 0
    failed: int = 0
    below: int = 0
    began: float = field(default_factory=time.monotonic)

    def write(self, record: Record) -> None:
        if record["error"] is not None:
            self.failed += 1
            return
        self.scored += 1
        self.below += self.limit is not None and record["technical"] < self.limit

    def close(self) -> None:
        """Nothing is held."""

    def summary(self, kept: _Kept, skipped: sources.Skipped) -> str:
        seconds = time.monotonic() - self.began
        new = self.scored + self.failed - len(kept.keys)
        parts = [f"{self.scored} scored, {self.failed} failed"]
        if kept.keys:
            parts.append(f"{len(kept.keys)} of them kept from the last run")
        if kept.away:
            parts.append(f"{kept.away} of these out of reach now")
        if kept.others:
            parts.append(f"{kept.others} rows of other images kept")
        if self.limit is not None:
            parts.append(f"{self.below} below {self.limit:g}")
        if skipped:
            parts.append(str(skipped))
        return f"{', '.join(parts)}; {seconds:.1f} s, {new / max(seconds, 1e-9):.1f} images/s"


class _Kept:
    """Decides which rows of an earlier run still hold, and shows those that this run is about.

    A row holds until something says otherwise: another model, a file that changed. One out of reach says nothing.
    """

    def __init__(self, columns: Columns, paths: list[str], shown: list[files.Sink]) -> None:
        self.keys: set[str] = set()
        self.others = self.away = 0
        self._columns, self._shown = columns, shown
        self._paths = {records.key(path): path for path in paths}
        self._strange: set[str] = set()  # the images of other rows

    def __call__(self, record: Record) -> bool:
        name = records.key(record["path"])
        if (path := self._paths.get(name)) is None:
            known = name in self._strange
            self._strange.add(name)
            self.others += not known
            return not known
        if name in self.keys or record["error"] is not None:
            return False
        if any(record[column] != value for column, value in self._columns.run.items()):
            return False
        if not self._columns.is_whole(record):
            return False
        try:
            status = os.stat(path)
            if (status.st_size, status.st_mtime_ns) != (record["size"], record["mtime_ns"]):
                return False
        except (OSError, ValueError):
            self.away += 1
        self.keys.add(name)
        for sink in self._shown:
            sink.write(record | {"path": path})
        return True


def _stdin() -> str:
    """Raises ConfigError where it is closed or cannot be read."""
    if sys.stdin is None:
        raise ConfigError("standard input is closed; give paths, or pipe them in")
    try:
        return lists.decoded(sys.stdin.buffer.read())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read paths from standard input: {error}") from error


def _score(scorer: Scorer, columns: Columns, paths: Iterable[str]) -> Iterator[Record]:
    with closing(scorer._stream(paths)) as stream:
        for done in stream:
            path = str(done.item)
            if done.error is not None:
                yield records.failed(columns, path, done.error.reason)
            else:
                assert done.facts is not None
                yield records.scored(columns, path, done.facts, scorer._score_of(done), scorer.bundle)
