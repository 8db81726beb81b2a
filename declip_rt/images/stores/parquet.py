"""Images in a column of a Parquet table: as bytes, or as a struct of bytes and path."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

from declip_rt.errors import ImageError, Unavailable
from declip_rt.extras import load
from declip_rt.images.stores.archive import Archive, Content, Fault, Member, Names, check_size

STEP = 8  # rows that are read together
WINDOW = 64 * 2**20  # bytes of rows that were read for rows behind them
BUFFER = 2**20  # bytes of a column that are read ahead


class Row(Member):
    """An image in a row. Its size is known when it is read."""

    __slots__ = ("group", "place")
    group: _Group
    place: int  # in the group

    def read(self, most: int | None = None) -> Content:
        data = self.group.read(self.place)
        if data is None:
            raise ImageError("there are no bytes in this row, whatever its path is: give the files themselves")
        check_size(len(data), most)
        return Content(data, len(data), self.archive.mtime_ns)

    def stamp(self) -> tuple[int | None, int]:
        return None, self.archive.mtime_ns


class _Group:
    """The images of a row group, which threads read nearly in order: each page is unpacked once."""

    def __init__(self, archive: Archive, column: str, number: int, size: int) -> None:
        self._archive, self._column, self._number, self._size = archive, column, number, size
        self._lock = threading.Lock()
        self._coming: Iterator[tuple[int, bytes | None]] = iter(())
        self._next = 0
        self._held: dict[int, bytes | None] = {}  # read, and not yet asked for
        self._bytes = 0

    def read(self, place: int) -> bytes | None:
        """The bytes of a row. Raises ImageError."""
        with self._lock:
            if place not in self._held:
                self._read_to(place)
            data = self._held.pop(place)
            self._bytes -= len(data or b"")
            return data

    def _read_to(self, place: int) -> None:
        arrow: Any = load("pyarrow")
        if place < self._next or self._next == 0:
            self._coming, self._next, self._bytes = self._rows(), 0, 0
            self._held.clear()
        try:
            for number, data in itertools.islice(self._coming, place + 1 - self._next):
                self._held[number] = data
                self._next = number + 1
                self._bytes += len(data or b"")
                while self._bytes > WINDOW and len(self._held) > 1:
                    self._bytes -= len(self._held.pop(next(iter(self._held))) or b"")
        except (arrow.ArrowException, OSError, ValueError, MemoryError) as error:
            self._next = 0
            raise ImageError(f"the table is damaged here ({error}): fetch or make it again") from error
        if place not in self._held:
            self._next = 0
            raise ImageError("the table has fewer rows than it says: fetch or make it again")
        if place + 1 == self._size:
            self._coming = iter(())  # frees its pages and its file

    def _rows(self) -> Iterator[tuple[int, bytes | None]]:
        parquet: Any = load("pyarrow.parquet")
        arrow: Any = load("pyarrow")
        with self._archive.open():  # is it the file that was listed
            pass
        file = parquet.ParquetFile(self._archive.path, pre_buffer=False, buffer_size=BUFFER)
        number = 0
        for batch in file.iter_batches(STEP, row_groups=[self._number], columns=[self._column], use_threads=False):
            values = batch.column(0)
            if arrow.types.is_struct(values.type):
                values = values.flatten()[0]
            for value in values:
                yield number, value.as_py()
                number += 1


def members(path: str, image_column: str | None) -> Iterator[Member]:
    """The images of all rows: PATH#NAME where they have paths, else PATH#ROW; a Fault where the table is damaged."""
    try:
        parquet: Any = load("pyarrow.parquet")
        arrow: Any = load("pyarrow")
    except Unavailable as error:
        yield Fault.of(path, str(error))
        return
    try:
        archive = Archive.at(path)
        file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER)
        column, named = _columns(arrow, file.schema_arrow, image_column)
        yield from _listed(archive, file, column, named)
    except ImageError as error:
        yield Fault.of(path, error.reason)
    except (arrow.ArrowException, OSError, ValueError, MemoryError) as error:
        yield Fault.of(path, f"the table is damaged or cut off ({error}): fetch or make it again")


def _listed(archive: Archive, file: Any, column: str, named: str | None) -> Iterator[Member]:
    names, rows = Names(archive.path), itertools.count()
    for number in range(file.num_row_groups):
        group = _Group(archive, column, number, file.metadata.row_group(number).num_rows)
        for place, (name, row) in enumerate(zip(_names(file, number, named), rows, strict=False)):
            member = Row(names.give(name or str(row)))
            member.archive, member.group, member.place = archive, group, place
            yield member


def _names(file: Any, group: int, named: str | None) -> Iterator[str | None]:
    """What the rows of a group are called, without their images."""
    if named is None:
        yield from itertools.repeat(None, file.metadata.row_group(group).num_rows)
        return
    for batch in file.iter_batches(1024, row_groups=[group], columns=[named], use_threads=False):
        yield from batch.column(0).flatten()[0].to_pylist()


def _columns(arrow: Any, schema: Any, asked: str | None) -> tuple[str, str | None]:
    """Where the bytes are, and their paths, if any. Raises ImageError."""
    found = [field for field in schema if asked in (None, field.name) and _holds_images(arrow, field.type)]
    if not found:
        what = f"column {asked}" if asked else "column"
        raise ImageError(
            f"the table has no {what} of images (bytes, or a struct of bytes and path) among "
            f"{', '.join(schema.names)}: name it by --image-column, or give a list of paths by --list"
        )
    field = found[0]
    if not arrow.types.is_struct(field.type):
        return field.name, None
    has_path = any(
        child.name == "path" and (arrow.types.is_string(child.type) or arrow.types.is_large_string(child.type))
        for child in field.type
    )
    return f"{field.name}.bytes", f"{field.name}.path" if has_path else None


def _holds_images(arrow: Any, kind: Any) -> bool:
    if arrow.types.is_struct(kind):
        return any(child.name == "bytes" and _holds_images(arrow, child.type) for child in kind)
    return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))
