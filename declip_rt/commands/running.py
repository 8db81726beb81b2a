"""What every command that scores can be told: which model, where, and how fast."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from declip_rt.backends.contract import EngineOptions, Precision
from declip_rt.images.load import DecodeScale
from declip_rt.prompts import Prompts
from declip_rt.scorer import Decoder, Scorer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options that `score`, `eval` and `calibrate` share; their `--help` says what each means."""

    model: str | None = None
    device: str = EngineOptions.device
    batch: int = EngineOptions.batch
    workers: int | None = None
    threads: int | None = None
    decode_scale: DecodeScale = "full"
    precision: Precision = EngineOptions.precision
    lanes: int | None = None
    recipe: str | None = None
    decoder: Decoder = "cpu"
    quiet: bool = False

    @property
    def engine(self) -> EngineOptions:
        """Raises ConfigError."""
        return EngineOptions(
            device=self.device,
            precision=self.precision,
            batch=self.batch,
            threads=self.threads,
            lanes=self.lanes,
            recipe=self.recipe,
        )

    def open(self, prompts: Sequence[Prompts] = ()) -> Scorer:
        """Raises what `Scorer` raises."""
        scorer = Scorer(
            self.model,
            self.device,
            prompts=prompts,
            batch=self.batch,
            workers=self.workers,
            threads=self.threads,
            decode_scale=self.decode_scale,
            precision=self.precision,
            lanes=self.lanes,
            recipe=self.recipe,
            decoder=self.decoder,
        )
        logger.info("model %s, device %s", scorer.bundle.name, scorer.engine)
        return scorer

    def progress(self, total: int | None) -> tqdm[Any]:
        """A bar on stderr, unless it is quiet or no terminal."""
        hidden = self.quiet or not sys.stderr.isatty()
        return tqdm(total=total, unit="img", file=sys.stderr, disable=hidden, dynamic_ncols=True)


class _Lines(logging.Handler):
    """Prints a record as a line on stderr, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


@contextmanager
def printed_log(quiet: bool) -> Iterator[None]:
    """Prints what the package logs while a command runs, unless it is quiet."""
    log, handler = logging.getLogger("declip_rt"), _Lines()
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.CRITICAL if quiet else logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before
