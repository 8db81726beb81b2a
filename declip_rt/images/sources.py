"""Finds the images that a user names by files, folders, globs and lists, and reads their bytes."""

from __future__ import annotations

import glob
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from PIL import Image

from declip_rt.disk import read_csv, read_text
from declip_rt.errors import ConfigError, ImageError

RUN_LENGTH = 10_000  # a folder's entries are sorted in runs of so many
CSV_COLUMNS = ("path", "image", "file", "filename", "name")


@dataclass(frozen=True)
class Content:
    """A file's bytes, and its size in bytes and modification time in nanoseconds when it was read."""

    data: bytes
    size: int
    mtime_ns: int


def expand(arguments: Iterable[str]) -> Iterator[str]:
    """The image files that the arguments mean, in their order. Each comes once, whatever names or links lead to it.

    A file may have any name. A folder gives the files with an image's suffix, in the order of its sorted entries. They
    are sorted in runs of RUN_LENGTH, so that the first can be scored before a large folder is listed. Links are
    followed, loops are not. A path that does not exist is a glob (`**` crosses folders). A glob that finds nothing is
    given back as it is, so that its row says that it is missing.
    """
    seen: set[str] = set()
    for path in _expand_globs(arguments):
        for file, real in _walk(path, set()) if os.path.isdir(path) else ((path, os.path.realpath(path)),):
            if real not in seen:
                seen.add(real)
                yield file


def read(path: str | os.PathLike[str]) -> Content:
    """Reads a regular file. Raises ImageError."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status, content = os.fstat(file.fileno()), None
            if stat.S_ISREG(status.st_mode):
                content = Content(file.read(), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ImageError(f"not a path: {error}") from error
    if content is None:
        raise ImageError("not a regular file")
    return content


def read_list(path: str) -> list[str]:
    """The paths in a text file (a line each) or a `.csv` (in its column path, image, file, filename or name).

    Relative paths start at the list's folder. Raises ConfigError.
    """
    try:
        listed = _column(path) if path.lower().endswith(".csv") else split_paths(read_text(path))
    except OSError as error:
        raise ConfigError(f"cannot read the list {path}: {error.strerror}") from error
    return [os.path.join(os.path.dirname(path), name) for name in listed]


def _column(path: str) -> list[str]:
    rows = read_csv(path)
    column = next((name for name in CSV_COLUMNS if name in (rows.fieldnames or ())), None)
    if column is None:
        raise ConfigError(f"{path} has none of the columns {', '.join(CSV_COLUMNS)}")
    return [row[column] for row in rows if row[column]]


def split_paths(text: str) -> list[str]:
    """Paths separated by NUL where there is one, else by newlines."""
    if "\0" in text:
        return [line for line in text.split("\0") if line]
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]


def _expand_globs(arguments: Iterable[str]) -> Iterator[str]:
    for argument in arguments:
        if (
            not os.path.lexists(argument)
            and glob.has_magic(argument)
            and (found := glob.glob(argument, recursive=True))
        ):
            yield from sorted(found)
        else:
            yield argument


def _walk(folder: str, entered: set[tuple[int, int]]) -> Iterator[tuple[str, str]]:
    """The folder's image files, each with its path without links."""
    real = os.path.realpath(folder)
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            return
        entered.add((status.st_dev, status.st_ino))
        entries = os.scandir(folder)
        while run := sorted(itertools.islice(entries, RUN_LENGTH), key=lambda entry: entry.name):
            for entry in run:
                if _is_folder(entry):
                    yield from _walk(entry.path, entered)
                elif f".{entry.name.rpartition('.')[2]}".lower() in _suffixes():  # splitext finds none in "..png"
                    direct = not entry.is_symlink()  # resolving every path would cost more than all the rest here
                    yield entry.path, os.path.join(real, entry.name) if direct else os.path.realpath(entry.path)
    except OSError:
        yield folder, real  # its row says why it cannot be read


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


@cache
def _suffixes() -> frozenset[str]:
    """The suffixes of the raster formats that Pillow reads, without those of documents and films."""
    Image.init()
    readable = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
    return frozenset(
        readable - {".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".wmf", ".emf", ".h5", ".hdf", ".grib", ".bufr"}
    )


def _open_at_once(path: str, flags: int) -> int:
    """Opens a path. It does not wait for a writer if the path is a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
