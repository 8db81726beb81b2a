"""Looks into an ONNX file without ONNX: for its weights and operators. Fields are those of onnx.proto."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from declip_rt.errors import BundleError

PARTS = {  # message: its fields that hold other messages
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
EXTERNAL_DATA = 13  # of a tensor
OPERATORS, DOMAIN = 8, 1  # a set of operators that a model imports, and where it is from
VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5


def check(file: Path) -> None:
    """Raises BundleError where a graph keeps weights in another file, which no hash covers, or is no ONNX."""
    with _opened(file) as data:
        inside = [("model", 0, len(data))]
        while inside:
            kind, start, end = inside.pop()
            for field, first, last in _fields(data, start, end):
                if kind == "tensor" and field == EXTERNAL_DATA:
                    raise BundleError(f"{file} keeps weights in other files; export it with its weights inside")
                if part := PARTS[kind].get(field):
                    inside.append((part, first, last))


def domains(file: Path) -> set[str]:
    """Where the graph's operators are from: "" is ONNX itself, "com.microsoft" ONNX Runtime. Raises BundleError."""
    with _opened(file) as data:
        sets = [(first, last) for field, first, last in _fields(data, 0, len(data)) if field == OPERATORS]
        named = [part for each in sets for part in _fields(data, *each) if part[0] == DOMAIN]
        found = {data[first:last].decode() for _, first, last in named}
        return found | {""} if len(named) < len(sets) else found


@contextmanager
def _opened(file: Path) -> Iterator[mmap.mmap]:
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (ValueError, IndexError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{file} is no ONNX graph: {error}") from error
    except OSError as error:
        raise BundleError(f"cannot read {file}: {error.strerror}; export or install the bundle again") from error


def _fields(data: mmap.mmap, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The number of each field of a message, and where its bytes begin and end. Raises ValueError, IndexError."""
    while place < end:
        key, place = _varint(data, place)
        kind = key & 7
        if kind == VARINT:
            last = _varint(data, place)[1]
        elif kind == BYTES:
            length, place = _varint(data, place)
            last = place + length
        elif kind in (FIXED_64, FIXED_32):
            last = place + (8 if kind == FIXED_64 else 4)
        else:
            raise ValueError("a field of no known kind")
        if last > end:
            raise ValueError("a field goes beyond its end")
        yield key >> 3, place, last
        place = last


def _varint(data: mmap.mmap, place: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number without an end")
