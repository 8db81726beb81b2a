"""One run of `declip-rt score`: from the arguments to the sinks and the exit code."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from declip_rt.commands.running import Settings
from declip_rt.errors import ConfigError
from declip_rt.images import sources
from declip_rt.output import files, records
from declip_rt.output.html import HtmlReport
from declip_rt.output.records import Columns, Record
from declip_rt.output.terminal import Ranked, Table
from declip_rt.prompts import parse
from declip_rt.scorer import Scorer

logger = logging.getLogger(__name__)
STDIO = "-"
AHEAD = 5000  # files that are listed before the first is scored


@dataclass(frozen=True)
class Job(Settings):
    """The options of `declip-rt score`; its `--help` says what each means."""

    paths: tuple[str, ...] = ()
    listed: str | None = None
    out: str | None = None
    html: Path | None = None
    resume: bool = False
    prompts: Sequence[str] = ()
    semantic_prompts: Sequence[str] = ()
    sort: str | None = None
    top: int | None = None
    bottom: int | None = None
    fail_below: float | None = None
    stats: bool = False

    def run(self) -> int:
        """Scores everything, and returns the exit code: 0 all well, 1 a failure or a score below `fail_below`."""
        self._check()
        own = (*parse(self.prompts, "perceptual"), *parse(self.semantic_prompts, "semantic"))
        with self.open(own) as scorer:
            columns = Columns.of(
                scorer.bundle, scorer.prompts, precision=scorer.engine.precision, decode_scale=self.decode_scale
            )
            if self.sort and self.sort not in columns.types:
                raise ConfigError(f"--sort {self.sort}: no such column; choose one of {', '.join(columns.types)}")
            named = self._expand()
            ahead = list(named if self.resume else itertools.islice(named, AHEAD))
            if not ahead:
                raise ConfigError(
                    "no images found; give files, folders or globs (folders give files with an image's suffix)"
                )
            tally = Tally(self.fail_below)
            with self.progress(len(ahead) if self.resume or len(ahead) < AHEAD else None) as progress:
                shown: list[files.Sink] = [tally, *self._shown(scorer, progress)]
                kept = _Kept(columns, ahead if self.resume else [], shown)
                out = self._out(columns, kept)
                progress.update(len(kept.keys))
                paths = (path for path in itertools.chain(ahead, named) if records.key(path) not in kept.keys)
                for record in _score(scorer, columns, paths):
                    for sink in (*out, *shown):
                        sink.write(record)
                    progress.update()
            for sink in (*out, *shown):
                sink.close()
            if self.stats:
                print(scorer.stats.summary(), file=sys.stderr)
        logger.info(tally.summary(len(kept.keys)))
        return 1 if tally.failed or tally.below else 0

    def _check(self) -> None:
        if self.resume and self.out in (None, STDIO):
            raise ConfigError("--resume goes on with the rows of a file: give it with --out FILE")
        if self.out not in (None, STDIO):
            files.check_suffix(Path(self.out or ""))
        for file in (self.out, self.html):
            if file not in (None, STDIO) and not Path(file or "").absolute().parent.is_dir():
                raise ConfigError(f"cannot write {file}: its folder does not exist")
        ConfigError.check_counts(top=self.top, bottom=self.bottom)

    def _expand(self) -> Iterator[str]:
        named: list[str] = []
        for argument in self.paths:
            if argument == STDIO:
                named += sources.split_paths(os.fsdecode(sys.stdin.buffer.read()))
            else:
                named.append(argument)
        if self.listed is not None:
            named += sources.read_list(self.listed)
        return sources.expand(named)

    def _out(self, columns: Columns, kept: _Kept) -> list[files.Sink]:
        if self.out is None:
            return []
        if self.out == STDIO:
            return [files.Stdout(columns)]
        return [files.open_file(Path(self.out), columns, kept if self.resume else None)]

    def _shown(self, scorer: Scorer, progress: tqdm[Any]) -> Iterator[files.Sink]:
        prompts = [p.name for p in scorer.prompts]
        if self.html is not None:
            yield HtmlReport(self.html, scorer.bundle, device=str(scorer.engine), prompts=prompts, stats=scorer.stats)
        if self.out == STDIO:
            return
        table = Table(scorer.bundle, lambda line: progress.write(line, file=sys.stdout), prompts)
        ranked = self.sort is not None or self.top is not None or self.bottom is not None
        yield Ranked(table, self.sort or "technical", self.top, self.bottom) if ranked else table


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

    def summary(self, kept: int) -> str:
        seconds = time.monotonic() - self.began
        new = self.scored + self.failed - kept
        parts = [f"{self.scored} scored, {self.failed} failed"]
        if kept:
            parts.append(f"{kept} of them kept from the last run")
        if self.limit is not None:
            parts.append(f"{self.below} below {self.limit:g}")
        return f"{', '.join(parts)}; {seconds:.1f} s, {new / max(seconds, 1e-9):.1f} images/s"


class _Kept:
    """Decides which rows of an earlier run still hold, and shows those that this run is about."""

    def __init__(self, columns: Columns, paths: list[str], shown: list[files.Sink]) -> None:
        self.keys: set[str] = set()
        self._run, self._shown = columns.run, shown
        self._paths = {records.key(path): path for path in paths}

    def __call__(self, record: Record) -> bool:
        name = records.key(record["path"])
        path: str = self._paths.get(name) or record["path"]
        if name in self.keys or record["error"] is not None:
            return False
        if any(record[column] != value for column, value in self._run.items()):
            return False
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return False
        if (status.st_size, status.st_mtime_ns) != (record["size"], record["mtime_ns"]):
            return False
        if name in self._paths:
            self.keys.add(name)
            for sink in self._shown:
                sink.write(record | {"path": path})
        return True


def _score(scorer: Scorer, columns: Columns, paths: Iterable[str]) -> Iterator[Record]:
    with closing(scorer._stream(paths)) as stream:
        for done in stream:
            path = str(done.item)
            if done.error is not None:
                yield records.failed(columns, path, done.error.reason)
            else:
                assert done.facts is not None
                yield records.scored(columns, path, done.facts, scorer._score_of(done))
