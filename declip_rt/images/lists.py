"""Reads lists of images: text with a path a line, CSV, JSONL and Parquet."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from declip_rt.errors import ConfigError
from declip_rt.extras import load

COLUMNS = (  # of the paths, in this order
    *("path", "image_path", "file_path", "filepath", "image", "img"),
    *("file", "filename", "file_name", "image_name", "name"),
)
DELIMITERS = ",;\t|"
MARKS = (  # the longer ones first: that of UTF-32 begins as that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
CONTROL = bytes({*range(32)} - {0, 9, 10, 13})  # bytes that no list has, but in an odd name
MOST_CONTROL = 0.01
FIELD = 10**7  # characters of a CSV's field, at most


def read_list(path: str) -> list[str]:
    """The paths in a list: a text file (a line each, or NUL between them), or a .csv, .tsv, .jsonl or .parquet file.

    Tables have them in a column of COLUMNS, in any case; a line of JSONL may be the path itself. Text is in UTF-8 or
    UTF-16, with a byte order mark or without. Relative paths start at the list's folder.

    Raises:
        ConfigError: it cannot be read, is no list, or has no such column.
    """
    folder, suffix = os.path.dirname(path), os.path.splitext(path)[1].lower()
    try:
        if suffix == ".parquet":
            return [os.path.join(folder, name) for name in _of_parquet(path)]
        with open(path, "rb") as file:
            text = decoded(file.read())
    except OSError as error:
        raise ConfigError(f"cannot read the list {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no list: {error}") from error
    if suffix in (".csv", ".tsv"):
        found = _of_csv(path, text)
    elif suffix in (".jsonl", ".ndjson"):
        found = _of_json(path, text)
    else:
        found = [_plain(line, folder) for line in split_paths(text)]
    return [os.path.join(folder, name) for name in found]


def decoded(data: bytes) -> str:
    """The text, in UTF-8 or UTF-16; a byte that is no UTF-8 becomes a surrogate. Raises ValueError for no text."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "surrogateescape" if encoding == "utf-8-sig" else "strict")
    pairs = max(1, len(data) // 2)
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(data) % 2 == 0 and data[first::2].count(0) > 0.5 * pairs and not data[1 - first :: 2].count(0):
            return data.decode(encoding)
    if len(data) - len(data.translate(None, CONTROL)) > MOST_CONTROL * len(data):
        raise ValueError("it is not text; name images and folders themselves without --list")
    return os.fsdecode(data)


def split_paths(text: str) -> list[str]:
    """Paths separated by NUL where there is one, else by newlines."""
    if "\0" in text:
        return [line for line in text.split("\0") if line]
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]


def _plain(line: str, folder: str) -> str:
    """The path of a line, without the blanks and quotes around it, unless a file has them in its name."""
    if os.path.lexists(os.path.join(folder, line)):
        return line
    bare = line.strip()
    return bare[1:-1] if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'" else bare


def _of_csv(path: str, text: str) -> list[str]:
    header = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)  # the comma where none is there
    csv.field_size_limit(FIELD)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise ConfigError(f"{path} is no CSV: {error}") from error
    rows = [row for row in rows if any(row)]
    place = _column(path, rows[0] if rows else [])
    return [row[place].strip() for row in rows[1:] if len(row) > place and row[place].strip()]


def _of_json(path: str, text: str) -> list[str]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}, line {number}: this is no JSON") from error
        found.append(row[_named(path, row)] if isinstance(row, dict) else row)
        if not isinstance(found[-1], str) or not found[-1]:
            raise ConfigError(f"{path}, line {number}: there is no path")
    return found


def _of_parquet(path: str) -> Iterable[str]:
    load("pyarrow.parquet")
    arrow: Any = load("pyarrow")
    try:
        file = arrow.parquet.ParquetFile(path)
        name = _named(path, file.schema_arrow.names)
        found = [one for one in file.read([name]).column(0).to_pylist() if one]
    except (arrow.ArrowException, OSError) as error:
        raise ConfigError(f"cannot read the list {path}: it is no Parquet file") from error
    if not all(isinstance(one, str) for one in found):
        raise ConfigError(f"{path}: its column {name} has no paths")
    return found


def _named(path: str, names: Iterable[str]) -> str:
    names = list(names)
    return names[_column(path, names)]


def _column(path: str, header: Sequence[str]) -> int:
    """The place of the column that has the paths."""
    known = [name.strip().casefold().replace(" ", "_") for name in header]
    if (place := next((known.index(name) for name in COLUMNS if name in known), None)) is None:
        raise ConfigError(f"{path} has none of the columns {', '.join(COLUMNS)}")
    return place
