"""Finds the images that a user names by files, folders and globs, and reads their bytes."""

from __future__ import annotations

import glob
import itertools
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from PIL import Image

from declip_rt.errors import ImageError
from declip_rt.images import formats, raw

RUN_LENGTH = 10_000  # a folder's entries are sorted in runs of so many
THUMBNAILS = ("@eaDir", "__MACOSX")  # folders that a NAS or an archive adds
WORKING = (".lock", ".partial")  # of a run that writes beside the photos: nobody needs their count
AGAIN = "other names of the same file"
MOST_TOLD = 6  # reasons
AT_ONCE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # waits for no pipe's writer
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(slots=True)
class Content:
    """A file's bytes, and its size in bytes and modification time in nanoseconds when it was read."""

    data: bytes
    size: int
    mtime_ns: int


class Skipped(Counter[str]):
    """How many files of folders were left out, by suffix or reason."""

    def __str__(self) -> str:
        listed = [f"{count} {what}" for what, count in self.most_common(MOST_TOLD)]
        more = ["…"] * (len(self) > MOST_TOLD)
        return f"{self.total()} skipped: {', '.join(listed + more)}"


def expand(arguments: Iterable[str], exclude: Sequence[str] = (), skipped: Skipped | None = None) -> Iterator[str]:
    """The image files that the arguments mean, in their order. Each comes once, whatever names or links lead to it.

    A file may have any name. A folder gives the files with an image's suffix, in the order of its sorted entries, but
    none that is hidden, in a hidden folder, or a thumbnail of a NAS. They are sorted in runs of RUN_LENGTH, so that the
    first can be scored before a large folder is listed. Links are followed, loops are not. A path that does not exist
    is a glob (`**` crosses folders). A glob that finds nothing is given back as it is, so that its row says that it is
    missing.

    exclude: glob patterns of names or paths that folders do not give, such as "*_thumb.jpg". skipped: told what else is
    in the folders.
    """
    seen: set[str] = set()
    skipped = Skipped() if skipped is None else skipped
    for path in _expand_globs(arguments):
        walked = _walk(path, exclude, skipped) if os.path.isdir(path) else ((path, _resolved(path)),)
        for file, real in walked:
            if real not in seen:
                seen.add(real)
                yield file
            else:
                skipped[AGAIN] += 1


def read(path: str | os.PathLike[str], most: int | None = None) -> Content:
    """Reads a regular file, of `most` bytes where they are limited. Raises ImageError."""
    try:
        file = os.open(path, AT_ONCE)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("not a regular file")
            if most is not None and status.st_size > most:
                raise ImageError(f"a file of {status.st_size:,} bytes; {most:,} are allowed (--memory)")
            return Content(_all_of(file, status.st_size), status.st_size, status.st_mtime_ns)
        finally:
            os.close(file)
    except OSError as error:
        if ADDRESS.match(os.fsdecode(path)):
            raise ImageError("an address, not a file: fetch it first, and give the file") from error
        raise ImageError(f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ImageError(f"not a path: {error}") from error


def _all_of(file: int, size: int) -> bytes:
    """The bytes of an open file that had this size: in one step, without the lock, where nothing comes between."""
    data = os.read(file, size)
    if len(data) == size:
        return data
    parts = [data]  # the file has shrunk, or is larger than one call gives
    while data := os.read(file, size - sum(map(len, parts))):
        parts.append(data)
    return b"".join(parts)


def _resolved(path: str) -> str:
    """The path without links; as it is where it is none, whose row says so."""
    return path if "\0" in path else os.path.realpath(path)


def _expand_globs(arguments: Iterable[str]) -> Iterator[str]:
    for argument in arguments:
        if (
            "\0" not in argument
            and not os.path.lexists(argument)
            and glob.has_magic(argument)
            and (found := glob.glob(argument, recursive=True))
        ):
            yield from sorted(found)
        else:
            yield argument


def _walk(folder: str, exclude: Sequence[str], skipped: Skipped) -> Iterator[tuple[str, str]]:
    """The folder's image files, each with its path without links."""
    entered: set[tuple[int, int]] = set()
    inside = [(_entries(folder, entered), os.path.realpath(folder))]  # a tree may be deeper than Python's stack
    while inside:
        entries, real = inside[-1]
        entry = next(entries, None)
        if entry is None:
            inside.pop()
        elif isinstance(entry, str):
            yield entry, real  # its row says why it cannot be read
        elif why := _left_out(entry, exclude):
            skipped[why] += 1
        elif _is_folder(entry):
            inside.append((_entries(entry.path, entered), _real(entry, real)))
        elif (suffix := f".{entry.name.rpartition('.')[2]}".lower()) in _suffixes():  # splitext finds none in "..png"
            yield entry.path, _real(entry, real)
        elif not entry.name.endswith(WORKING):
            skipped[suffix if "." in entry.name else "without a suffix"] += 1


def _real(entry: os.DirEntry[str], folder: str) -> str:
    """The entry's path without links. folder: that of its folder, as resolving every path would cost too much."""
    return os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(folder, entry.name)


def _entries(folder: str, entered: set[tuple[int, int]]) -> Iterator[os.DirEntry[str] | str]:
    """The sorted entries of a folder that was not entered before, or its path where it cannot be read."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            return
        entered.add((status.st_dev, status.st_ino))
        entries = os.scandir(folder)
        while run := sorted(itertools.islice(entries, RUN_LENGTH), key=lambda entry: entry.name):
            yield from run
    except OSError:
        yield folder


def _left_out(entry: os.DirEntry[str], exclude: Sequence[str]) -> str:
    """Why a folder's entry is not looked at, or nothing."""
    if any(fnmatchcase(entry.name, pattern) or fnmatchcase(entry.path, pattern) for pattern in exclude):
        return "by --exclude"
    return "hidden" if entry.name.startswith(".") or entry.name in THUMBNAILS else ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


@cache
def _suffixes() -> frozenset[str]:
    """The suffixes of the formats that are decoded."""
    Image.init()
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in (*formats.READ, "MPO")}
    heic = {".heic", ".heif"} if formats.reader_of_heic() else set()
    return frozenset(known | heic | (set(raw.SUFFIXES) if raw.is_read() else set()))
