"""`declip-rt video`: from the arguments to the timelines, the summary, the events and the exit code."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Literal

from declip_rt.commands import running
from declip_rt.commands.compare import compare
from declip_rt.commands.running import EXIT_CODES, Running, in_flags, parsed
from declip_rt.errors import ConfigError, ImageError
from declip_rt.images import sources
from declip_rt.output import files, records, target
from declip_rt.output.terminal import printable
from declip_rt.scorer import Scorer
from declip_rt.video import rows
from declip_rt.video.book import STDOUT, Book, Shown
from declip_rt.video.pixels import COLORS
from declip_rt.video.reader import Reader, check_span, step_of
from declip_rt.video.reference import Reference
from declip_rt.video.scorer import VideoScore, VideoScorer
from declip_rt.video.table import Errors, Table, Tally
from declip_rt.video.vtt import Subtitles, is_ours

logger = logging.getLogger(__name__)
VTT = (".vtt",)
DAMAGE = ("corrupt", "truncated")  # events that are an error with --strict
COMPARED = ("running", "paths", "every", "fps", "color", "allow_network", "summary", "compare", "overwrite")
EVERY = "seconds between samples: 0.5, 2s, or auto: one a second, four around cuts and after freezes (default: 1s)"
DESCRIPTION = (
    "Score videos over time: a row a sample, a row an event and a row a file. Prints a table of the files; "
    "--out, --summary, --events, --html and --vtt write files. Failed inputs become rows of the summary with an error."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXIT_CODES
    add = parser.add_argument
    add("paths", nargs="+", metavar="FILE", help="a video, or a glob; with --allow-network an address")
    which = parser.add_mutually_exclusive_group().add_argument
    which("--every", type=_every, default=1.0, metavar="T", help=EVERY)
    which("--fps", type=float, metavar="N", help="samples a second, in place of --every")
    which(
        "--keyframes", action="store_true", help="sample the key frames alone: much faster; no cuts, freezes or black"
    )
    add("--start", type=_seconds, default=0.0, metavar="T", help="where to begin: 90, 90s, 1:30 or 1:02:03.5")
    add("--end", type=_seconds, metavar="T", help="where to end")
    add("--color", default="auto", choices=COLORS, help="the matrix of YUV (default: the stream's own word)")
    add("--deinterlace", action="store_true", help="make interlaced pictures whole")
    add("--allow-network", action="store_true", help="let inputs be, or name, addresses of a network")
    for option, what in (
        ("--out", "write a row a sample, the timeline, to a .csv, .jsonl or .parquet file; - writes JSONL to stdout"),
        ("--summary", "the same of a row a file"),
        (
            "--events",
            "the same of a row an event: low, freeze, black, scene, corrupt, truncated, discontinuity, resize",
        ),
    ):
        add(option, metavar="FILE", help=what)
    add("--compare", action="store_true", help="compare all but the first with it, their source: a row an encode")
    add("--html", dest="html_file", type=Path, metavar="FILE", help="write a page to look at in a browser")
    add("--vtt", dest="vtt_file", type=Path, metavar="FILE", help="write WebVTT that players show; of one video")
    add("--resume", action="store_true", help="go on: keep the rows of files that --summary has and that are unchanged")
    add("--overwrite", action="store_true", help="start again: what --out, --summary and --events have is replaced")
    add("--fail-below", type=float, metavar="X", help="exit with 1 if a video's technical hysteresis is below X")
    add(
        "--strict",
        action="store_true",
        help="a video that is damaged gets an error, even where it has pictures to score",
    )
    add(
        "--reference",
        type=Path,
        metavar="ROWS",
        help="percentiles and low scenes by these rows of an earlier run, in place of the model's reference photos",
    )
    running.add_engine_options(parser)
    running.add_batch_options(parser)
    parser.set_defaults(command=run)


def _every(text: str) -> float | str:
    """Seconds between samples, or auto."""
    return text if text == "auto" else _seconds(text)


def _seconds(text: str) -> float:
    """Seconds of 90, 90s, 1:30 or 1:02:03.5."""
    if not re.fullmatch(r"(\d+:){0,2}\d*\.?\d+s?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds, such as 90 or 0.5s, or 1:02:03.5")
    first, *behind = map(float, text.removesuffix("s").split(":"))
    if any(part >= 60 for part in behind):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; minutes and seconds behind a colon are below 60")
    seconds = first
    for part in behind:
        seconds = 60 * seconds + part
    return seconds


def _check_whole(score: VideoScore) -> None:
    """Raises ImageError where a video is damaged."""
    for event in score.events:
        if event.kind in DAMAGE:
            raise ImageError(f"{event.kind} at {event.start:.3f} s ({event.detail}), and --strict is given")


def run(options: argparse.Namespace) -> int:
    return parsed(options, Job).run()


@dataclass(frozen=True)
class Job:
    """The options of `declip-rt video`; its `--help` says what each means."""

    running: Running
    paths: tuple[str, ...]
    every: float | Literal["auto"] = 1.0
    fps: float | None = None
    keyframes: bool = False
    start: float = 0.0
    end: float | None = None
    color: str = "auto"
    deinterlace: bool = False
    allow_network: bool = False
    out: str | None = None
    summary: str | None = None
    events: str | None = None
    compare: bool = False
    html_file: Path | None = None
    vtt_file: Path | None = None
    resume: bool = False
    overwrite: bool = False
    fail_below: float | None = None
    reference: Path | None = None

    def run(self) -> int:
        """Scores everything, and returns the exit code: 0 all well, 1 a failure or a video below `fail_below`."""
        step_of(self.every, self.fps)
        check_span(self.start, self.end)
        if self.compare:
            return self._compare()
        outputs = self._outputs()
        paths = self._paths([path for path in outputs.values() if path])
        tally = Tally(self.fail_below)
        with ExitStack() as held:
            for output in filter(None, outputs.values()):
                held.enter_context(target.locked(output))
            scorer = held.enter_context(self.running.open())
            reference = Reference.read(self.reference, scorer.bundle) if self.reference else None
            videos = VideoScorer(scorer, reference)
            progress = held.enter_context(self.running.progress(len(paths), "videos"))
            book = self._book(videos, outputs, paths, tally, progress.write)
            for path in paths:
                if records.key(path) not in book.kept:
                    self._score(videos, path, book)
                progress.update()
            book.close()
        logger.info(tally.told(len(book.kept)))
        return 1 if tally.failed or tally.below else 0

    def _compare(self) -> int:
        odd = [f.name for f in fields(self) if f.name not in COMPARED and getattr(self, f.name) != f.default]
        odd += ["strict"] * self.running.strict
        every = step_of(self.every, self.fps)
        if odd or every == "auto":
            option = f"--{odd[0].removesuffix('_file').replace('_', '-')}" if odd else "--every auto"
            raise ConfigError(f"{option} does not go with --compare, which takes --every, --fps, --color and --summary")
        if self.overwrite and self.summary in (None, STDOUT):
            raise ConfigError("--overwrite replaces the rows of a file: give it with --summary FILE")
        return compare(
            self.running,
            self._compared(),
            every=float(every),
            color=self.color,
            allow_network=self.allow_network,
            summary=self.summary,
            overwrite=self.overwrite,
        )

    def _compared(self) -> list[str]:
        """The source and its encodes. A glob leaves the source out; it stands beside itself where it is named again."""
        source, *encodes = self._paths([])
        named = (path for path in self.paths[1:] if os.path.lexists(path))
        again = [path for path in named if os.path.realpath(path) == os.path.realpath(source)]
        return [source, *again, *encodes]

    def _score(self, videos: VideoScorer, path: str, book: Book) -> None:
        options = ("every", "fps", "keyframes", "start", "end", "color", "deinterlace", "allow_network")
        file = rows.file_facts(path)
        try:
            score = videos.score(path, **{option: getattr(self, option) for option in options})
            if self.running.strict:
                _check_whole(score)
        except ImageError as error:
            book.write(book.columns["--summary"].record(path=path, error=in_flags(error.reason)), [], [])
            return
        summary = rows.summary(path, score, book.columns["--summary"], file)
        samples = rows.timeline(path, score, book.columns["--out"], videos.reference)
        book.write(summary, list(samples), list(rows.events(path, score)))

    def _outputs(self) -> dict[str, Path | None]:
        """The files of the options. Raises ConfigError where the options are at odds."""
        given = {"--out": self.out, "--summary": self.summary, "--events": self.events}
        printed = [option for option, name in given.items() if name == STDOUT]
        if len(printed) > 1:
            raise ConfigError(f"{' and '.join(printed)} both write to standard output: choose one")
        if self.resume and self.overwrite:
            raise ConfigError("choose --resume or --overwrite: one keeps the rows of the files, the other does not")
        if self.resume and self.summary in (None, STDOUT):
            raise ConfigError(
                "--resume goes on with the files that --summary has a row of: give it with --summary FILE"
            )
        if self.overwrite and not any(name not in (None, STDOUT) for name in given.values()):
            raise ConfigError("--overwrite replaces the rows of a file: give it with --out, --summary or --events FILE")
        tables = {
            option: None if name in (None, STDOUT) else target.place(option, name or "", target.ROWS)
            for option, name in given.items()
        }
        pages = {"--html": (self.html_file, target.PAGE), "--vtt": (self.vtt_file, VTT)}
        shown = {option: file and target.place(option, file, suffixes) for option, (file, suffixes) in pages.items()}
        if self.resume and any(shown.values()) and not (tables["--out"] and tables["--events"]):
            raise ConfigError(
                "--html and --vtt show the rows that --resume keeps: give it with --out and --events FILE"
            )
        if (file := shown["--vtt"]) and not is_ours(file) and not self.overwrite:
            raise ConfigError(f"--vtt {file} is there, and not by this command: --overwrite replaces it")
        target.check_distinct({"--reference": self.reference} | tables | shown)
        self._check_begun(tables)
        return tables | shown

    def _check_begun(self, tables: dict[str, Path | None]) -> None:
        """Raises ConfigError where rows would be lost, or those of one file are there without those of another."""
        begun = {option: files.is_begun(path) for option, path in tables.items() if path}
        for option, path in tables.items():
            if begun.get(option) and not (self.resume or self.overwrite):
                raise ConfigError(f"{path} has rows: --resume goes on with them, --overwrite starts again")
            exists = path and (path.exists() or files.journal(path).exists())
            if self.resume and begun["--summary"] and path and not exists:
                raise ConfigError(f"{option} {path} lacks the rows of what --summary has: --overwrite starts again")

    def _paths(self, outputs: list[Path]) -> list[str]:
        for path in self.paths:
            if path == STDOUT:
                raise ConfigError("frames on standard input are for declip-rt frames -")
            if os.path.isdir(path):
                raise ConfigError(f"{path} is a folder; give its videos, such as {os.path.join(path, '*.mp4')}")
        found = list(target.spare(sources.expand(self.paths), outputs))
        if self.vtt_file and len(found) > 1:
            raise ConfigError(f"--vtt is of one video, and here are {len(found)}; leave it out, or give one")
        return found

    def _book(
        self,
        videos: VideoScorer,
        outputs: dict[str, Path | None],
        paths: list[str],
        tally: Tally,
        write: Callable[..., None],
    ) -> Book:
        scorer = videos.scorer
        run = records.run_of(scorer.bundle, scorer.engine.precision, sampling=self._sampling())
        if self.reference:
            percentiles = json.dumps({name: list(values) for name, values in videos.reference.percentiles.items()})
            run["reference"] = hashlib.sha256(percentiles.encode()).hexdigest()[:12]
        columns = {
            "--out": rows.timeline_columns(videos.reference),
            "--summary": rows.summary_columns(run),
            "--events": rows.EVENTS,
        }
        shown: list[Shown] = [tally]
        printed = STDOUT in (self.out, self.summary, self.events)
        shown.append(Errors(partial(write, file=sys.stderr)) if printed else Table(write, self.fail_below))
        if page := outputs["--html"]:
            from declip_rt.video.page import Page  # Jinja takes its time

            shown.append(Page(page, videos.reference, self._open, self._facts(scorer), self.start))
        if file := outputs["--vtt"]:
            shown.append(Subtitles(file, self.start))
        book = Book(columns, shown)
        names = {"--out": self.out, "--summary": self.summary, "--events": self.events}
        book.open(names, outputs, paths if self.resume else [])
        return book

    def _open(self, path: str) -> Reader:
        """A video whose pictures are those that were scored."""
        return Reader(path, color=self.color, deinterlace=self.deinterlace, allow_network=self.allow_network)

    def _facts(self, scorer: Scorer) -> dict[str, str]:
        """What the page says of the run."""
        calibration = scorer.bundle.manifest.calibration
        reference = str(self.reference) if self.reference else calibration.reference if calibration else ""
        facts = {"sampling": self._sampling(), "model": f"{scorer.bundle.name} {scorer.bundle.hash[:12]}"}
        facts |= {"device": str(scorer.engine), "made": f"{datetime.datetime.now():%Y-%m-%d %H:%M}"}
        return facts | ({"compared with": printable(reference)} if reference else {})

    def _sampling(self) -> str:
        """How a video is read, as the summary has it."""
        step = f"every {self.every:g} s" if isinstance(self.every, float) else "auto"
        told = ["keyframes" if self.keyframes else step if self.fps is None else f"{self.fps:g} fps"]
        told += [f"from {self.start:g} s"] * bool(self.start) + [f"to {self.end or 0:g} s"] * (self.end is not None)
        return ", ".join(
            [
                *told,
                *[self.color] * (self.color != "auto"),
                *["deinterlaced"] * self.deinterlace,
                *["strict"] * self.running.strict,
            ]
        )
