"""Videos on the terminal: a line each, and how many there were."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from declip_rt.output.records import Record
from declip_rt.output.terminal import printable, shorten

NAME = 40  # columns of text


class Table:
    """A line a file, written as it comes. below: the technical hysteresis below which a line says so."""

    def __init__(self, write: Callable[[str], None], below: float | None = None) -> None:
        self._write, self._below, self._headed = write, below, False

    def write(self, summary: Record, samples: Sequence[Record], events: Sequence[Record]) -> None:
        if not self._headed:
            self._headed = True
            self._write(f"{'name':<{NAME}}  {'seconds':>8}  technical    p5  worst  at         events")
        name = f"{shorten(printable(summary['path']), NAME):<{NAME}}"
        if summary["error"] is not None:
            self._write(f"{name}  error: {printable(summary['error'])}")
            return
        counts = Counter(event["kind"] for event in events)
        told = [f"{count} {kind}" for kind, count in counts.items()]
        if self._below is not None and summary["hysteresis"] < self._below:
            told.insert(0, f"below {self._below:g}")
        figures = f"{summary['hysteresis']:>9.3f}  {summary['p5']:.2f}   {summary['min']:.2f}"
        at = minutes(summary["min_time"])
        self._write(f"{name}  {summary['duration']:>8.1f}  {figures}  {at:<9}  {', '.join(told)}".rstrip())

    def close(self) -> None:
        """Nothing is held."""


class Errors:
    """Why files failed, a line each, where the rows themselves go to standard output."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def write(self, summary: Record, samples: Sequence[Record], events: Sequence[Record]) -> None:
        if summary["error"] is not None:
            self._write(printable(f"{summary['path']}: {summary['error']}"))

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class Tally:
    """Counts what went by. limit: of the technical hysteresis."""

    limit: float | None = None
    scored: int = 0
    failed: int = 0
    below: int = 0
    seconds: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def write(self, summary: Record, samples: Sequence[Record], events: Sequence[Record]) -> None:
        if summary["error"] is not None:
            self.failed += 1
            return
        self.scored += 1
        self.seconds += summary["duration"]
        self.below += self.limit is not None and summary["hysteresis"] < self.limit

    def close(self) -> None:
        """Nothing is held."""

    def told(self, kept: int) -> str:
        """The run in a line. kept: files of an earlier run."""
        parts = [f"{self.scored} scored, {self.failed} failed"]
        parts += [f"{kept} of them kept from the last run"] * bool(kept)
        parts += [f"{self.below} below {self.limit:g}"] if self.limit is not None else []
        return f"{', '.join(parts)}; {self.seconds:.1f} s of video in {time.monotonic() - self.began:.1f} s"


def minutes(seconds: float) -> str:
    """Minutes and seconds, as people say them: 0:41.5."""
    tenths = round(10 * seconds)
    whole = f"{tenths // 600}:{tenths % 600 // 10:02}"
    return f"{whole}.{tenths % 10}" if tenths % 10 else whole
