"""Counts the images of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from declip_rt.images import sources
from declip_rt.output.kept import Kept
from declip_rt.output.records import Record


@dataclass
class Tally:
    """Counts what went by."""

    limit: float | None = None
    word: str = "scored"
    done: int = 0
    failed: int = 0
    below: int = 0
    began: float = field(default_factory=time.monotonic)

    def write(self, record: Record) -> None:
        if record["error"] is not None:
            self.failed += 1
            return
        self.done += 1
        self.below += self.limit is not None and record["technical"] < self.limit

    def close(self) -> None:
        """Nothing is held."""

    def summary(self, kept: Kept, skipped: sources.Skipped) -> str:
        seconds = time.monotonic() - self.began
        new = self.done + self.failed - len(kept.keys)
        parts = [f"{self.done} {self.word}, {self.failed} failed"]
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
