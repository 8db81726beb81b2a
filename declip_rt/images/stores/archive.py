"""An archive's file, and the images in it: names that know how their bytes are read."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from declip_rt.errors import ImageError

AT_ONCE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # waits for no pipe's writer
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
Wanted: TypeAlias = Callable[[str], bool]  # whether a member of this name is an image that is asked for


@dataclass(slots=True)
class Content:
    """An image's bytes, and its size in bytes and modification time in nanoseconds when it was read."""

    data: bytes
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Archive:
    """A file with images in it, as it was when they were listed."""

    path: str
    size: int
    mtime_ns: int

    @staticmethod
    def at(path: str) -> Archive:
        """Raises ImageError where there is no such file."""
        with opened(path) as file:
            status = os.fstat(file)
            return Archive(path, status.st_size, status.st_mtime_ns)

    @contextmanager
    def open(self) -> Iterator[int]:
        """A descriptor of its own for each reader. Raises ImageError where the file is another by now."""
        with opened(self.path) as file:
            status = os.fstat(file)
            if (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns):
                raise ImageError(f"{self.path} has changed since it was listed: run again with --resume")
            yield file


class Member(str):
    """An image in an archive: a path that names it, as ARCHIVE#NAME. It is never a path on the disk."""

    __slots__ = ("archive",)
    archive: Archive

    def read(self, most: int | None = None) -> Content:
        """Its bytes, of which `most` are allowed. Raises ImageError."""
        raise NotImplementedError

    def stamp(self) -> tuple[int | None, int]:
        """Its size in bytes, where that is known without reading it, and the archive's modification time in ns."""
        raise NotImplementedError


class Fault(Member):
    """What stands for an archive, or the rest of one, that cannot be read: it has the archive's name."""

    __slots__ = ("reason",)
    reason: str

    @staticmethod
    def of(path: str, reason: str) -> Fault:
        fault = Fault(path)
        fault.archive, fault.reason = Archive(path, 0, 0), reason
        return fault

    def read(self, most: int | None = None) -> Content:
        raise ImageError(self.reason)

    def stamp(self) -> tuple[int | None, int]:
        raise OSError(self.reason)


class Names:
    """Gives each member of an archive a name that no other has: ARCHIVE#NAME, and ARCHIVE#NAME#2 for its second."""

    def __init__(self, archive: str) -> None:
        self._archive, self._given = archive, set[str]()

    def give(self, name: str) -> str:
        unique, count = name, 1
        while unique in self._given:
            count += 1
            unique = f"{name}#{count}"
        self._given.add(unique)
        return f"{self._archive}#{unique}"


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[int]:
    """A descriptor of a regular file. Raises ImageError, as for an OSError in the block."""
    try:
        file = os.open(path, AT_ONCE)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise ImageError("not a regular file")
            yield file
        finally:
            os.close(file)
    except OSError as error:
        if ADDRESS.match(os.fsdecode(path)):
            raise ImageError("an address, not a file: fetch it first, and give the file") from error
        raise ImageError(f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"not a path: {error}") from error


def check_size(size: int, most: int | None) -> None:
    """Raises ImageError where an image has more bytes than are allowed."""
    if most is not None and size > most:
        raise ImageError(f"a file of {size:,} bytes; {most:,} are allowed (--memory)")


def read_at(file: int, offset: int, size: int) -> bytes:
    """So many bytes from `offset` on, in one step where nothing comes between; fewer where the file ends.

    file: a descriptor that no other thread reads by: Windows has no pread.
    """
    os.lseek(file, offset, os.SEEK_SET)
    parts: list[bytes] = []
    while size > 0 and (data := os.read(file, size)):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)
