"""`declip-rt embed`: the features of images, in a file."""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from declip_rt.commands import inputs, running
from declip_rt.commands.inputs import Inputs
from declip_rt.commands.running import Running, parsed
from declip_rt.images import sources
from declip_rt.output import features, records, target
from declip_rt.output.kept import Kept
from declip_rt.output.records import Columns, Record
from declip_rt.output.tally import Tally
from declip_rt.output.terminal import printable
from declip_rt.scorer import Scored, Scorer, embedding_of

logger = logging.getLogger(__name__)
DESCRIPTION = (
    "Write the perceptual and the semantic feature of images to --out. Failed inputs become rows with an error."
)
EXIT_CODES = "exit codes: 0 all embedded; 1 some inputs failed; 2 the command could not run or write"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXIT_CODES
    inputs.add_options(parser)
    add = parser.add_argument
    add(
        "--out",
        required=True,
        metavar="FILE",
        help="a .parquet file, or an .npz file of NumPy, written at the end: until then rows go to a journal beside it",
    )
    add(
        "--resume",
        action="store_true",
        help="go on with --out or its journal: keep the rows but those whose file changed, and embed the rest",
    )
    add("--overwrite", action="store_true", help="start --out again, in place of the rows that it has")
    running.add_options(parser)
    running.add_batch_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    return parsed(options, Job).run()


@dataclass(frozen=True)
class Job:
    """The options of `declip-rt embed`; its `--help` says what each means."""

    running: Running
    inputs: Inputs
    out: str
    resume: bool = False
    overwrite: bool = False

    def run(self) -> int:
        """Embeds everything, and returns the exit code: 0 all well, 1 a failure. Raises DeclipError."""
        out = self._output()
        tally = Tally(word="embedded")
        with target.locked(out), self.running.open() as scorer:
            columns = features.columns_of(
                scorer.bundle,
                precision=scorer.engine.precision,
                decode_scale=self.running.decode_scale,
                icc=self.running.icc,
            )
            skipped = sources.Skipped()
            ahead, rest, total = self.inputs.images([out], skipped, all_ahead=self.resume)
            kept = Kept(columns, ahead if self.resume else [], [tally])
            sink = features.open_features(out, columns, kept if self.resume else None)
            with self.running.progress(total) as progress:
                progress.update(len(kept.keys))
                paths = (path for path in itertools.chain(ahead, rest) if records.key(path) not in kept.keys)
                for record in _rows(scorer, columns, paths):
                    if record["error"] is not None:
                        progress.write(printable(f"{record['path']}: {record['error']}"), file=sys.stderr)
                    sink.write(record)
                    tally.write(record)
                    progress.update()
            sink.close()
        logger.info(tally.summary(kept, skipped))
        return 1 if tally.failed else 0

    def _output(self) -> Path:
        """The file of --out. Raises ConfigError where it cannot be written, or has rows that would be lost."""
        self.inputs.check("embed")
        out = target.place("--out", self.out, features.SUFFIXES)
        target.check_distinct({"--list": self.inputs.listed, "--out": out})
        inputs.check_begun(out, resume=self.resume, overwrite=self.overwrite)
        features.check(out)
        return out


def _rows(scorer: Scorer, columns: Columns, paths: Iterator[str]) -> Iterator[Record]:
    def row(path: str, done: Scored) -> Record:
        assert done.facts is not None
        return features.embedded(columns, path, done.facts, embedding_of(done))

    return inputs.rows_of(scorer, columns, paths, row)
