"""Where records go: CSV, JSONL and Parquet files that survive a kill, and JSONL on stdout."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError
from declip_rt.extras import load
from declip_rt.output.records import Columns, Record, key


class Sink(Protocol):
    def write(self, record: Record) -> None: ...

    def close(self) -> None: ...


class Format(Protocol):
    """Records as lines of text."""

    def header(self) -> bytes: ...

    def line(self, record: Record) -> bytes: ...

    def parse(self, file: BinaryIO) -> Iterator[Record]:
        """Raises ConfigError where the file was written with other columns. A torn last line is left out."""


class Csv:
    """UTF-8 with a header; a name that is no UTF-8 keeps its bytes."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def header(self) -> bytes:
        return self._row(self._columns.types)

    def line(self, record: Record) -> bytes:
        return self._row("" if record[name] is None else record[name] for name in self._columns.types)

    def parse(self, file: BinaryIO) -> Iterator[Record]:
        whole = (line for line in file if line.endswith(b"\n"))
        rows = csv.reader(line.decode("utf-8", "surrogateescape") for line in whole)
        _check(next(rows, None), self._columns)
        for row in rows:
            if len(row) == len(self._columns.types):
                pairs = zip(self._columns.types.items(), row, strict=True)
                yield {name: kind(text) if text else None for (name, kind), text in pairs}

    @staticmethod
    def _row(values: Iterable[Any]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(values)
        return text.getvalue().encode("utf-8", "surrogateescape")


class JsonLines:
    """One JSON object a line; a name that is no UTF-8 is written with lone surrogate escapes, as Python's json does."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def header(self) -> bytes:
        return b""

    def line(self, record: Record) -> bytes:
        return json.dumps(record).encode() + b"\n"

    def parse(self, file: BinaryIO) -> Iterator[Record]:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ConfigError(
                    f"line {number} of the file to resume is not JSON; mend it, or start again"
                ) from error
            _check(list(record), self._columns)
            yield record


class LineFile:
    """A file that is readable whenever the run is killed: each record is appended in one write.

    With `keep` the records for which it is true stay, in front of the new ones; the others are dropped.
    """

    def __init__(self, path: Path, format: Format, keep: Callable[[Record], bool] | None = None) -> None:
        def begin(partial: Path) -> None:
            with _open(partial, "wb") as file:
                file.write(format.header())
                if keep is not None and path.exists():
                    file.writelines(format.line(record) for record in read_records(path, format) if keep(record))

        write_whole(path, begin)
        self._format = format
        self._file = _open(path, "ab")

    def write(self, record: Record) -> None:
        self._file.write(self._format.line(record))

    def close(self) -> None:
        self._file.close()


class ParquetFile:
    """Parquet cannot be appended to: records go to a JSONL journal beside it, which becomes the Parquet file on close.

    A path that is no UTF-8 is escaped (`records.key`).
    """

    def __init__(self, path: Path, columns: Columns, keep: Callable[[Record], bool] | None = None) -> None:
        self.path, self._columns = path, columns
        self._format = JsonLines(columns)
        self.journal = path.with_name(path.name + ".journal.jsonl")
        load("pyarrow.parquet")
        self._arrow = load("pyarrow")
        if keep is not None and path.exists() and not self.journal.exists():
            self._unpack()
        self._lines = LineFile(self.journal, self._format, keep)

    def write(self, record: Record) -> None:
        self._lines.write(record)

    def close(self) -> None:
        self._lines.close()
        write_whole(self.path, self._pack)
        self.journal.unlink()

    def _pack(self, path: Path) -> None:
        """Writes the journal's records as Parquet."""
        arrow = self._arrow
        kinds = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
        schema = arrow.schema([(name, kinds[kind]) for name, kind in self._columns.types.items()])
        with arrow.parquet.ParquetWriter(path, schema) as writer:
            for chunk in _chunks(read_records(self.journal, self._format), 10_000):
                rows = [record | {"path": key(record["path"])} for record in chunk]
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))

    def _unpack(self) -> None:
        """Writes the journal that the existing Parquet file came from."""
        file = self._arrow.parquet.ParquetFile(self.path)
        _check(file.schema_arrow.names, self._columns)

        def write(partial: Path) -> None:
            with partial.open("wb") as journal:
                for chunk in file.iter_batches(10_000):
                    journal.writelines(map(self._format.line, chunk.to_pylist()))

        write_whole(self.journal, write)


class Stdout:
    """JSONL on stdout."""

    def __init__(self, columns: Columns) -> None:
        self._format = JsonLines(columns)

    def write(self, record: Record) -> None:
        sys.stdout.buffer.write(self._format.line(record))
        sys.stdout.buffer.flush()

    def close(self) -> None:
        sys.stdout.buffer.flush()


def check_suffix(path: Path) -> None:
    """Raises ConfigError where no format has the suffix of `path`."""
    if path.suffix.lower() not in (".csv", ".jsonl", ".parquet"):
        raise ConfigError(f"--out {path}: the suffix must be .csv, .jsonl or .parquet")


def open_file(path: Path, columns: Columns, keep: Callable[[Record], bool] | None = None) -> LineFile | ParquetFile:
    """The sink that the suffix of `path` asks for. Raises ConfigError."""
    check_suffix(path)
    match path.suffix.lower():
        case ".csv":
            return LineFile(path, Csv(columns), keep)
        case ".jsonl":
            return LineFile(path, JsonLines(columns), keep)
    return ParquetFile(path, columns, keep)


def read_records(path: Path, format: Format) -> Iterator[Record]:
    with _open(path, "rb") as file:
        yield from format.parse(file)


def _open(path: Path, mode: str) -> Any:
    try:
        return path.open(mode, buffering=0 if mode == "ab" else -1)
    except OSError as error:
        raise ConfigError(f"cannot open {path}: {error.strerror}") from error


def _check(found: list[str] | None, columns: Columns) -> None:
    if found is not None and found != list(columns.types):
        raise ConfigError(
            "the file to resume has other columns than this model and its prompts give; "
            "choose another --out, or leave out --resume to start again"
        )


def _chunks(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    for record in records:
        chunk.append(record)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
