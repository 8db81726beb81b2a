"""Which images a command is given, and the rows of --out that an earlier run has left."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from declip_rt.errors import ConfigError
from declip_rt.images import lists, sources
from declip_rt.images.stores.choose import Stores
from declip_rt.output import files, records, target
from declip_rt.output.records import Columns, Record
from declip_rt.scorer import Scored, Scorer

STDIN = "-"
AHEAD = 5000  # files that are listed before the first is computed


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "paths",
        nargs="*",
        metavar="PATH",
        help="a file, a folder (recursive), a glob, a .tar, .zip or .parquet of images, or - for paths on stdin",
    )
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
        "--image-column",
        metavar="COLUMN",
        help="the images of .parquet files: bytes, or a struct of bytes and path (default: the first such column)",
    )


@dataclass(frozen=True)
class Inputs:
    """The images of `declip-rt score` and `declip-rt embed`; their `--help` says what each option means."""

    paths: tuple[str, ...] = ()
    listed: str | None = None
    exclude: Sequence[str] = ()
    image_column: str | None = None

    def check(self, command: str) -> None:
        """Raises ConfigError where no images are given."""
        if not self.paths and not self.listed:
            raise ConfigError(f"give images to {command}: declip-rt {command} PATH... (declip-rt {command} --help)")

    def images(
        self, outputs: list[Path], skipped: sources.Skipped, *, all_ahead: bool
    ) -> tuple[list[str], Iterator[str], int | None]:
        """The first paths, or all of them; the others; and how many there are, where that is known.

        Raises ConfigError where there are none, or one is an output.
        """
        rest = target.spare(self._expand(skipped), outputs)
        ahead = list(rest if all_ahead else itertools.islice(rest, AHEAD))
        if not ahead:
            found = f" ({skipped})" if skipped else ""
            raise ConfigError(
                f"no images found{found}; give files, folders or globs (folders give files with an image's suffix)"
            )
        return ahead, rest, len(ahead) if all_ahead or len(ahead) < AHEAD else None

    def _expand(self, skipped: sources.Skipped) -> Iterator[str]:
        named: list[str] = []
        for argument in self.paths:
            if argument == STDIN:
                named += lists.split_paths(_stdin())
            else:
                named.append(argument)
        if self.listed is not None:
            named += lists.read_list(self.listed)
        return sources.expand(named, self.exclude, skipped, Stores(self.image_column))


def check_begun(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raises ConfigError where rows would be lost."""
    if resume and overwrite:
        raise ConfigError("choose --resume or --overwrite: one keeps the rows of --out, the other does not")
    if files.is_begun(out) and not (resume or overwrite):
        raise ConfigError(f"{out} has rows: --resume goes on with them, --overwrite starts again")


def rows_of(
    scorer: Scorer, columns: Columns, paths: Iterable[str], row: Callable[[str, Scored], Record]
) -> Iterator[Record]:
    """A row of each image: what `row` makes of it, or its error."""
    with closing(scorer._stream(paths)) as stream:
        for done in stream:
            assert isinstance(done.item, str)
            path = done.item  # str() would make a name of a Member
            yield row(path, done) if done.error is None else records.failed(columns, path, done.error.reason)


def _stdin() -> str:
    """Raises ConfigError where it is closed or cannot be read."""
    if sys.stdin is None:
        raise ConfigError("standard input is closed; give paths, or pipe them in")
    try:
        return lists.decoded(sys.stdin.buffer.read())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read paths from standard input: {error}") from error
