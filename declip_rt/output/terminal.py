"""The table on the terminal."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from declip_rt.model.bundle import Bundle
from declip_rt.output.records import Record, findings, mos_columns

FINDINGS = 28  # columns of text
HEADING = 16  # at most, of a MOS or a prompt


class Table:
    """One line a record, written as it comes: name, technical, aesthetic, percentile, MOS, prompts, findings."""

    def __init__(self, bundle: Bundle, write: Callable[[str], None], prompts: Sequence[str] = ()) -> None:
        self._bundle, self._write = bundle, write
        more = (*mos_columns(bundle), *prompts)
        self._more = {name: f"  {shorten(name, HEADING):>5}" for name in more}  # column: heading
        columns = shutil.get_terminal_size((100, 24)).columns
        self._name = max(16, min(60, columns - FINDINGS - 33 - len("".join(self._more.values()))))
        self._headed = False

    def write(self, record: Record) -> None:
        if not self._headed:
            self._headed = True
            more = "".join(self._more.values())
            self._write(f"{'name':<{self._name}}  technical  aesthetic  percentile{more}  findings")
        name = f"{shorten(printable(record['path']), self._name):<{self._name}}"
        if record["error"] is not None:
            self._write(f"{name}  error: {printable(record['error'])}")
            return
        percentile = "-" if record["percentile"] is None else f"{record['percentile']:.0f}"
        words = ", ".join(findings(record, self._bundle))
        more = "".join(f"{record[column]:>{len(heading)}.3f}" for column, heading in self._more.items())
        quality = f"{record['technical']:>9.3f}  {record['aesthetic']:>9.3f}"
        self._write(f"{name}  {quality}  {percentile:>10}{more}  {words}".rstrip())

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class Ranked:
    """Holds records back and gives them to `table` on close: by `column`, highest first, failures last.

    Of the scored ones only the `top` first and the `bottom` last are held, where these are given.
    """

    table: Table
    column: str
    top: int | None = None
    bottom: int | None = None
    _scored: list[tuple[float | str, int, Record]] = field(default_factory=list)
    _failed: list[Record] = field(default_factory=list)
    _seen: int = 0

    def write(self, record: Record) -> None:
        if record["error"] is not None:
            self._failed.append(record)
            return
        self._seen += 1
        self._scored.append((record[self.column], -self._seen, record))
        if self._limited and len(self._scored) > 2 * ((self.top or 0) + (self.bottom or 0)) + 1000:
            self._scored = self._best()

    def close(self) -> None:
        for _, _, record in self._best() if self._limited else sorted(self._scored, key=_rank, reverse=True):
            self.table.write(record)
        for record in self._failed:
            self.table.write(record)
        self.table.close()

    @property
    def _limited(self) -> bool:
        return self.top is not None or self.bottom is not None

    def _best(self) -> list[tuple[float | str, int, Record]]:
        top = heapq.nlargest(self.top or 0, self._scored, key=_rank)
        shown = {number for _, number, _ in top}
        bottom = heapq.nsmallest(self.bottom or 0, self._scored, key=_rank)
        return top + [entry for entry in reversed(bottom) if entry[1] not in shown]


def _rank(entry: tuple[float | str, int, Record]) -> tuple[float | str, int]:
    return entry[0], entry[1]


def printable(text: str) -> str:
    """Control characters and bytes that are no UTF-8 are escaped, so that a file name cannot drive the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shorten(text: str, width: int) -> str:
    """The end of a text that is too long, behind an ellipsis: the end of a path tells more than its start."""
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]
