"""What every command that scores can be told: which model, where, and how fast."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from declip_rt.errors import ConfigError
from declip_rt.prompts import Prompts
from declip_rt.scorer import Scorer


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options that `score`, `eval` and `calibrate` share; their `--help` says what each means."""

    model: str | None = None
    device: str = "auto"
    batch: int = 8
    workers: int | None = None
    threads: int | None = None
    decode_scale: str = "full"
    precision: str = "auto"
    lanes: int | None = None
    recipe: str | None = None
    decoder: str = "cpu"
    quiet: bool = False

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
            say=self.say,
        )
        self.say(f"model {scorer.bundle.name}, device {scorer.device}")
        return scorer

    def check_counts(self, *names: str) -> None:
        """Raises ConfigError where one of the options `names`, or a count of these options, is given and below 1."""
        for name in ("batch", "workers", "threads", "lanes", *names):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name} must be at least 1, not {value}")

    def progress(self, total: int | None) -> tqdm[Any]:
        """A bar on stderr, unless it is quiet or no terminal."""
        hidden = self.quiet or not sys.stderr.isatty()
        return tqdm(total=total, unit="img", file=sys.stderr, disable=hidden, dynamic_ncols=True)

    def say(self, line: str) -> None:
        """Prints on stderr, unless quiet."""
        if not self.quiet:
            print(line, file=sys.stderr)
