"""The table on the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence

from declip_rt.model.bundle import Bundle
from declip_rt.output.records import Record, mos_columns

FINDINGS = 28  # columns of text
HEADING = 16  # at most, of a MOS or a prompt


class Table:
    """One line a record, written as it comes: name, technical, aesthetic, percentile, MOS, prompts, findings.

    below: the technical score below which a line says so.
    """

    def __init__(
        self, bundle: Bundle, write: Callable[[str], None], prompts: Sequence[str] = (), below: float | None = None
    ) -> None:
        self._write, self._below = write, below
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
        words = record["findings"] or ""
        if self._below is not None and record["technical"] < self._below:
            words = f"below {self._below:g}" + (f", {words}" if words else "")
        more = "".join(f"{record[column]:>{len(heading)}.3f}" for column, heading in self._more.items())
        quality = f"{record['technical']:>9.3f}  {record['aesthetic']:>9.3f}"
        self._write(f"{name}  {quality}  {percentile:>10}{more}  {words}".rstrip())

    def close(self) -> None:
        """Nothing is held."""


def printable(text: str) -> str:
    """Control characters and bytes that are no UTF-8 are escaped, so that a file name cannot drive the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shorten(text: str, width: int) -> str:
    """The end of a text that is too long, behind an ellipsis: the end of a path tells more than its start."""
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]
