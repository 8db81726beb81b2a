"""Images in a tar, read where they lie."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from declip_rt.errors import ImageError
from declip_rt.images.stores.archive import Archive, Content, Fault, Member, Names, Wanted, check_size, read_at

LONGEST = 2**20  # bytes of a header: a name and its attributes
BLOCK = tarfile.BLOCKSIZE


class TarMember(Member):
    """A file in a tar."""

    __slots__ = ("offset", "size")
    offset: int
    size: int

    def read(self, most: int | None = None) -> Content:
        check_size(self.size, most)
        if self.offset + self.size > self.archive.size:
            raise ImageError("the tar ends before it does: the tar was cut off; fetch or make it again")
        with self.archive.open() as file:
            return Content(read_at(file, self.offset, self.size), self.size, self.archive.mtime_ns)

    def stamp(self) -> tuple[int | None, int]:
        return self.size, self.archive.mtime_ns


def members(path: str, is_wanted: Wanted) -> Iterator[Member]:
    """The images in their order, each as soon as its header is read; a Fault where the tar is damaged."""
    try:
        archive = Archive.at(path)
        with open(path, "rb") as file:
            yield from _listed(archive, _Headers(file), is_wanted)
    except ImageError as error:
        yield Fault.of(path, error.reason)
    except OSError as error:
        yield Fault.of(path, f"cannot be read: {error.strerror}")
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        reason = f"the tar is damaged or cut off here ({error}): fetch or make it again"
        yield Fault.of(path, reason)


class _Headers:
    """A file that gives headers alone, so that none takes memory."""

    def __init__(self, file: object) -> None:
        self._file = file
        self.tell, self.seek = file.tell, file.seek  # type: ignore[attr-defined]

    def read(self, size: int) -> bytes:
        if not 0 <= size <= LONGEST:
            raise tarfile.ReadError(f"a header of {size:,} bytes; at most {LONGEST:,} are read")
        data: bytes = self._file.read(size)  # type: ignore[attr-defined]
        return data


def _listed(archive: Archive, headers: _Headers, is_wanted: Wanted) -> Iterator[Member]:
    names = Names(archive.path)
    with tarfile.TarFile(fileobj=headers, errorlevel=2) as tar:  # type: ignore[arg-type]
        end = 0
        while (found := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else it keeps all
            if tar.offset <= end or found.size < 0:
                raise tarfile.ReadError("a member of less than nothing")
            end = tar.offset
            if found.isreg() and is_wanted(found.name):
                yield _member(archive, names.give(found.name), found)
        headers.seek(end)
        if (mark := headers.read(BLOCK)) != bytes(BLOCK):
            what = "a block that is no header" if mark else "no mark of its end"
            raise tarfile.ReadError(f"there is {what} behind the last member")


def _member(archive: Archive, name: str, found: tarfile.TarInfo) -> Member:
    if found.issparse():
        fault = Fault(name)
        fault.archive, fault.reason = archive, "a sparse file: unpack it first"
        return fault
    member = TarMember(name)
    member.archive, member.offset, member.size = archive, found.offset_data, found.size
    return member
