"""Where records go: CSV, JSONL and Parquet files that survive a kill, and JSONL on stdout."""

from __future__ import annotations

import csv
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError
from declip_rt.extras import load
from declip_rt.output.records import Columns, Record, key

logger = logging.getLogger(__name__)
SPECIAL = {",", '"', "\n", "\r"}  # what a CSV's cell is quoted for
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet's formula begins with
READ: dict[type, Callable[[str], Any]] = {bool: {"true": True, "false": False}.__getitem__}  # else by the type itself
ROW_LINES = 100  # of a CSV, at most: a longer row has lost a quote


Keep: TypeAlias = Callable[[Record], bool]


class Sink(Protocol):
    def write(self, record: Record) -> None: ...

    def close(self) -> None: ...


class Format(Protocol):
    """Records as lines of text."""

    def header(self) -> bytes: ...

    def line(self, record: Record) -> bytes: ...

    def parse(self, file: BinaryIO) -> Iterator[Record | None]:
        """The records, and None for each line that is damaged. A torn last line is left out.

        Raises ConfigError where the file was written with other columns.
        """


class Csv:
    """UTF-8 with a header, quoted by RFC 4180; a name that is no UTF-8 keeps its bytes.

    A text that a spreadsheet would run as a formula stands behind an apostrophe.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def header(self) -> bytes:
        return self._row(self._columns.types)

    def line(self, record: Record) -> bytes:
        return self._row(record[name] for name in self._columns.types)

    def parse(self, file: BinaryIO) -> Iterator[Record | None]:
        rows = _rows(line.decode("utf-8", "surrogateescape") for line in file if line.endswith(b"\n"))
        _check(next(rows, None), self._columns)
        for row in rows:
            yield self._record(row)

    def _record(self, row: list[str]) -> Record | None:
        if len(row) != len(self._columns.types):
            return None
        pairs = zip(self._columns.types.items(), row, strict=True)
        try:
            return {name: READ.get(kind, kind)(_unguarded(text)) if text else None for (name, kind), text in pairs}
        except (KeyError, ValueError):
            return None

    @staticmethod
    def _row(values: Iterable[Any]) -> bytes:
        cells = (str(value).lower() if isinstance(value, bool) else value for value in values)
        cells = (_guarded(value) if isinstance(value, str) else value for value in cells)
        texts = ("" if cell is None else str(cell) for cell in cells)
        quoted = (f'"{text.replace(chr(34), chr(34) * 2)}"' if SPECIAL & {*text} else text for text in texts)
        return (",".join(quoted) + "\n").encode("utf-8", "surrogateescape")


def _guarded(text: str) -> str:
    """With an apostrophe where a spreadsheet would take the text for a formula; a dash alone stands for nothing."""
    return "'" + text if text != "-" and text.lstrip("'").startswith(FORMULA) else text


def _unguarded(text: str) -> str:
    return text[1:] if text[:1] == "'" and text.lstrip("'").startswith(FORMULA) else text


def _rows(lines: Iterable[str]) -> Iterator[list[str]]:
    """The rows of a CSV, empty for each line that is part of none."""
    held: list[str] = []  # the lines of a row whose quoted cell goes on
    for line in lines:
        held.append(line)
        yield from _taken(held)
    while held:  # the first line's quote is never closed
        yield []
        del held[0]
        yield from _taken(held)


def _taken(held: list[str]) -> Iterator[list[str]]:
    """The rows that `held` has whole, taken from it."""
    while held and (whole := _whole(held)) is not None:
        count, row = whole
        yield row
        del held[:count]


def _whole(lines: list[str]) -> tuple[int, list[str]] | None:
    """How many of the lines the first row takes, and the row, empty if damaged; None where more lines are needed."""
    quotes = 0
    for count, line in enumerate(lines[:ROW_LINES], 1):
        quotes += line.count('"')
        if quotes % 2 == 0:
            try:
                rows = list(csv.reader(["".join(lines[:count])], strict=True))
            except csv.Error:
                return 1, []
            return count, rows[0] if len(rows) == 1 else []
    return (1, []) if len(lines) >= ROW_LINES else None


class JsonLines:
    """One JSON object a line; in a name that is no UTF-8 the odd bytes are escaped (`records.key`)."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def header(self) -> bytes:
        return b""

    def line(self, record: Record) -> bytes:
        return json.dumps(record | {"path": key(record["path"])}).encode() + b"\n"

    def parse(self, file: BinaryIO) -> Iterator[Record | None]:
        for number, line in enumerate(file):
            if not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if isinstance(record, dict) and number == 0:
                _check(list(record), self._columns)
            yield record if self._is_whole(record) else None

    def _is_whole(self, record: object) -> bool:
        """Whether it has the columns, of their types."""
        if not isinstance(record, dict) or list(record) != list(self._columns.types):
            return False
        kinds: dict[type, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float), bool: (bool,)}
        pairs = zip(record.values(), self._columns.types.values(), strict=True)
        return all(value is None or isinstance(value, kinds[kind]) for value, kind in pairs) and bool(record["path"])


class LineFile:
    """A file that is readable whenever the run is killed or the disk is full: records are appended whole.

    With `keep` the records for which it is true stay, in front of the new ones; the others are dropped.
    """

    def __init__(self, path: Path, format: Format, keep: Keep | None = None) -> None:
        def begin(partial: Path) -> None:
            with _open(partial, "wb") as file:
                file.write(format.header())
                if keep is not None and path.exists():
                    file.writelines(format.line(record) for record in read_records(path, format) if keep(record))

        write_whole(path, begin)
        self._path, self._format = path, format
        self._file = _open(path, "ab")
        self._end = path.stat().st_size

    def write(self, record: Record) -> None:
        """Raises OSError where the record cannot be written; the file then ends with the one before."""
        line = self._format.line(record)
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        self._end += len(line)

    def close(self) -> None:
        self._file.close()


class Packing(Protocol):
    """Records as a file that cannot be appended to."""

    def write(self, path: Path, records: Iterator[Record]) -> None:
        """Their paths are as every format can hold them (`records.key`)."""

    def read(self, path: Path) -> Iterator[Record]:
        """Raises ConfigError where the file is damaged or has other columns."""


class PackedFile:
    """A file that cannot be appended to: records go to a JSONL journal beside it, which becomes the file on close."""

    def __init__(self, path: Path, format: JsonLines, packing: Packing, keep: Keep | None = None) -> None:
        self.path, self._format, self._packing = path, format, packing
        self.journal = journal(path)
        if keep is not None and path.exists() and not self.journal.exists():
            rows = packing.read(path)

            def write(partial: Path) -> None:
                with partial.open("wb") as journal:
                    journal.writelines(map(self._format.line, rows))

            write_whole(self.journal, write)
        self._lines = LineFile(self.journal, self._format, keep)

    def write(self, record: Record) -> None:
        self._lines.write(record)

    def close(self) -> None:
        self._lines.close()
        write_whole(self.path, lambda partial: self._packing.write(partial, read_records(self.journal, self._format)))
        self.journal.unlink()


class Parquet:
    """A column of each record's values."""

    def __init__(self, columns: Columns) -> None:
        load("pyarrow.parquet")
        arrow = self._arrow = load("pyarrow")
        self._columns = columns
        kinds = {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
        self._schema = arrow.schema([(name, kinds[kind]) for name, kind in columns.types.items()])

    def write(self, path: Path, records: Iterator[Record]) -> None:
        with self._arrow.parquet.ParquetWriter(path, self._schema) as writer:
            for chunk in chunks(records, 10_000):
                writer.write_table(self._arrow.Table.from_pylist(chunk, schema=self._schema))

    def read(self, path: Path) -> Iterator[Record]:
        arrow = self._arrow
        try:
            file = arrow.parquet.ParquetFile(path)
            names = file.schema_arrow.names
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise ConfigError(f"{path} is no Parquet file to go on with; --overwrite starts again") from error
        _check(names, self._columns)
        try:
            for chunk in file.iter_batches(10_000):
                found = arrow.Table.from_batches([chunk]).cast(self._schema).to_pylist()
                yield from (record for record in found if record["path"] is not None)
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise ConfigError(f"{path} is damaged ({error}); --overwrite starts again") from error


class Stdout:
    """JSONL on stdout."""

    def __init__(self, columns: Columns) -> None:
        self._format = JsonLines(columns)

    def write(self, record: Record) -> None:
        sys.stdout.buffer.write(self._format.line(record))
        sys.stdout.buffer.flush()

    def close(self) -> None:
        sys.stdout.buffer.flush()


def is_begun(path: Path) -> bool:
    """Whether there are rows of an earlier run."""
    return any(file.exists() and file.stat().st_size for file in (path, journal(path)))


def journal(path: Path) -> Path:
    """Where the rows of a file that cannot be appended to are until it is closed."""
    return path.with_name(path.name + ".journal.jsonl")


def open_file(path: Path, columns: Columns, keep: Keep | None = None) -> LineFile | PackedFile:
    """The sink that the suffix of `path` (of target.ROWS) asks for. Raises ConfigError."""
    match path.suffix.lower():
        case ".csv":
            return LineFile(path, Csv(columns), keep)
        case ".jsonl":
            return LineFile(path, JsonLines(columns), keep)
    return PackedFile(path, JsonLines(columns), Parquet(columns), keep)


def rows_of(path: Path, columns: Columns) -> Iterator[Record]:
    """The rows that an earlier run left, none where there is no file. Damaged ones are left out. Raises ConfigError."""
    lines = path if path.suffix.lower() in (".csv", ".jsonl") else journal(path)
    if lines.exists():
        format = Csv(columns) if lines.suffix.lower() == ".csv" else JsonLines(columns)
        with _open(lines, "rb") as file:
            yield from (record for record in format.parse(file) if record and record["path"] is not None)
    elif path.exists():
        yield from Parquet(columns).read(path)


def read_records(path: Path, format: Format) -> Iterator[Record]:
    damaged = 0
    with _open(path, "rb") as file:
        for record in format.parse(file):
            if record is None or record["path"] is None:
                damaged += 1
            else:
                yield record
    if damaged:
        logger.warning("%s: %d damaged lines are left out", path, damaged)


def _open(path: Path, mode: str) -> Any:
    try:
        return path.open(mode, buffering=0 if mode == "ab" else -1)
    except OSError as error:
        raise ConfigError(f"cannot open {path}: {error.strerror}") from error


def _check(found: list[str] | None, columns: Columns) -> None:
    if found is not None and found != list(columns.types):
        raise ConfigError(
            "the file to resume has other columns than this model and these options (such as prompts) give; "
            "name another file, or start again with --overwrite"
        )


def chunks(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    for record in records:
        chunk.append(record)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
