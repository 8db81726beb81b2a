"""Which records are shown, and in what order."""

from __future__ import annotations

import heapq
import os
import re
import sys
from dataclasses import dataclass, field
from math import ceil

from declip_rt.errors import ConfigError
from declip_rt.output.files import Sink
from declip_rt.output.records import Record


@dataclass(frozen=True)
class Part:
    """A number of records, or a share of them in percent."""

    number: int
    is_share: bool = False

    @staticmethod
    def parse(option: str, text: str) -> Part:
        """Raises ConfigError."""
        match = re.fullmatch(r"(\d{1,9})(%?)", text)
        if match is None or not int(match[1]) or (match[2] and int(match[1]) > 100):
            raise ConfigError(f"{option} {text}: give a number of photos from 1 on, or a share such as 10%")
        return Part(int(match[1]), bool(match[2]))

    def of(self, count: int) -> int:
        """How many of `count` records these are; a share of some is one at least."""
        return ceil(self.number * count / 100) if self.is_share else self.number


@dataclass
class Ranked:
    """Holds records back and gives them to `sink` on close: by `column`, highest or lowest first, failures last.

    Of the scored ones only the `top` and the `bottom` part is given, where these are. Numbers of them bound what is
    held.
    """

    sink: Sink
    column: str
    top: Part | None = None
    bottom: Part | None = None
    worst_first: bool = False
    _scored: list[tuple[float | str | None, int, Record]] = field(default_factory=list)
    _failed: list[Record] = field(default_factory=list)
    _seen: int = 0

    def write(self, record: Record) -> None:
        if record["error"] is not None:
            self._failed.append(record)
            return
        self._seen += 1
        self._scored.append((record[self.column], -self._seen, record))
        parts = [part for part in (self.top, self.bottom) if part]
        bounded = parts and not any(part.is_share for part in parts)
        if bounded and len(self._scored) > 2 * sum(part.number for part in parts) + 1000:
            self._scored = self._best()

    def close(self) -> None:
        best = self._best() if self.top or self.bottom else sorted(self._scored, key=_rank, reverse=True)
        for _, _, record in reversed(best) if self.worst_first else best:
            self.sink.write(record)
        for record in self._failed:
            self.sink.write(record)
        self.sink.close()

    def _best(self) -> list[tuple[float | str | None, int, Record]]:
        """Those of both ends, highest first."""
        most, least = (part.of(self._seen) if part else 0 for part in (self.top, self.bottom))
        top = heapq.nlargest(most, self._scored, key=_rank)
        shown = {number for _, number, _ in top}
        bottom = heapq.nsmallest(least, self._scored, key=_rank)
        return top + [entry for entry in reversed(bottom) if entry[1] not in shown]


def _rank(entry: tuple[float | str | None, int, Record]) -> tuple[bool, float | str, int]:
    value, number, _ = entry
    return value is not None, 0 if value is None else value, number


@dataclass
class Paths:
    """The paths of scored records alone on stdout, for the next command.

    below: those whose technical score is lower, where it is given. end: what follows each.
    """

    below: float | None = None
    end: bytes = b"\n"

    def write(self, record: Record) -> None:
        if record["error"] is None and (self.below is None or record["technical"] < self.below):
            sys.stdout.buffer.write(os.fsencode(record["path"]) + self.end)
            sys.stdout.buffer.flush()

    def close(self) -> None:
        """Nothing is held."""
