"""The tables of a run over videos, which a later run goes on with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from declip_rt.images.stores.archive import ADDRESS
from declip_rt.output import files, records
from declip_rt.output.records import Columns, Record
from declip_rt.video.rows import file_facts

STDOUT = "-"


class Shown(Protocol):
    """What shows a run: a table, a page."""

    def write(self, summary: Record, samples: Sequence[Record], events: Sequence[Record]) -> None:
        """Takes one file: its row in the summary, and those of its samples and events."""

    def close(self) -> None: ...


class Book:
    """Up to three tables. A file is in it when its summary is: that is written last, behind its samples and events.

    columns: of --out, --summary and --events. shown: what is told of each file, too.

    Attributes:
        kept: the files whose rows stay from an earlier run.
    """

    def __init__(self, columns: Mapping[str, Columns], shown: Sequence[Shown]) -> None:
        self.columns, self._shown = columns, shown
        self._sinks: dict[str, files.Sink] = {}
        self.kept: set[str] = set()

    def open(self, names: Mapping[str, str | None], places: Mapping[str, Path | None], paths: Sequence[str]) -> None:
        """Opens the tables. names: of the options, - for JSON lines. paths: what the rows of earlier runs are kept for.

        Rows of other files stay. Raises ConfigError.
        """
        kept = _Kept(self.columns["--summary"], paths)
        if paths and (timeline := places["--out"]):
            kept.samples = Counter(records.key(row["path"]) for row in files.rows_of(timeline, self.columns["--out"]))
        for option in ("--summary", "--out", "--events"):  # the summary tells what is kept of the others
            if (place := places[option]) is not None:
                keep = (kept.summary if option == "--summary" else kept.told(option)) if paths else None
                self._sinks[option] = files.open_file(place, self.columns[option], keep)
            elif names[option] == STDOUT:
                self._sinks[option] = files.Stdout(self.columns[option])
        self.kept = set(kept.summaries)
        for name, row in kept.summaries.items():
            self._show(row, kept.rows["--out"].get(name, []), kept.rows["--events"].get(name, []))

    def write(self, summary: Record, samples: Sequence[Record], events: Sequence[Record]) -> None:
        """Takes one file."""
        for option, rows in (("--out", samples), ("--events", events), ("--summary", [summary])):
            if option in self._sinks:
                for row in rows:
                    self._sinks[option].write(row)
        self._show(summary, samples, events)

    def close(self) -> None:
        for sink in self._sinks.values():
            sink.close()
        for part in self._shown:
            part.close()

    def _show(self, summary: Record, samples: Sequence[Record], events: Sequence[Record]) -> None:
        for part in self._shown:
            part.write(summary, samples, events)


class _Kept:
    """Decides which rows of an earlier run still hold."""

    def __init__(self, columns: Columns, paths: Sequence[str]) -> None:
        self._columns = columns
        self._paths = {records.key(path): path for path in paths}
        self._others: set[str] = set()
        self.samples: Counter[str] | None = None  # that the timeline has of each file, where there is one
        self.summaries: dict[str, Record] = {}
        self.rows: dict[str, dict[str, list[Record]]] = {"--out": {}, "--events": {}}

    def summary(self, row: Record) -> bool:
        """Whether the row of a file stays: one of another file, or of one that is scored alike and unchanged.

        All of its samples are in the timeline then.
        """
        name = records.key(row["path"])
        if name in self._others or name in self.summaries:
            return False
        if name not in self._paths:
            self._others.add(name)
            return True
        if row["error"] is not None or any(row[column] != value for column, value in self._columns.run.items()):
            return False
        if not self._columns.is_whole(row) or not _is_same(self._paths[name], row):
            return False
        if self.samples is not None and self.samples[name] != row["samples"]:
            return False
        self.summaries[name] = row | {"path": self._paths[name]}
        return True

    def told(self, option: str) -> files.Keep:
        """Whether a row of a sample or an event stays: where that of its file does."""

        def keep(row: Record) -> bool:
            name = records.key(row["path"])
            if name in self.summaries:
                self.rows[option].setdefault(name, []).append(row)
            return name in self.summaries or name in self._others

        return keep


def _is_same(path: str, row: Record) -> bool:
    """Whether the file is as the row has it. One out of reach says nothing; an address may give another."""
    return not ADDRESS.match(path) and all(row[name] == value for name, value in file_facts(path).items())
