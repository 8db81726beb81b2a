"""Finds the images that a user names by files, folders, globs and archives, and reads their bytes."""

from __future__ import annotations

import glob
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache

from PIL import Image

from declip_rt.images import formats, raw
from declip_rt.images.stores.archive import Content, Member, check_size, opened, read_at
from declip_rt.images.stores.choose import Stores, expand_ranges

RUN_LENGTH = 10_000  # a folder's entries are sorted in runs of so many
THUMBNAILS = ("@eaDir", "__MACOSX")  # folders that a NAS or an archive adds
WORKING = (".lock", ".partial")  # of a run that writes beside the photos: nobody needs their count
AGAIN = "other names of the same file"
MOST_TOLD = 6  # reasons


class Skipped(Counter[str]):
    """How many files of folders were left out, by suffix or reason."""

    def __str__(self) -> str:
        listed = [f"{count} {what}" for what, count in self.most_common(MOST_TOLD)]
        more = ["…"] * (len(self) > MOST_TOLD)
        return f"{self.total()} skipped: {', '.join(listed + more)}"


def expand(
    arguments: Iterable[str],
    exclude: Sequence[str] = (),
    skipped: Skipped | None = None,
    stores: Stores | None = None,
) -> Iterator[str]:
    """The image files that the arguments mean, in their order. Each comes once, whatever names or links lead to it.

    A file may have any name. A folder gives the files with an image's suffix, in the order of its sorted entries, but
    none that is hidden, in a hidden folder, or a thumbnail of a NAS. They are sorted in runs of RUN_LENGTH, so that the
    first can be scored before a large folder is listed. Links are followed, loops are not. A path that does not exist
    is a glob (`**` crosses folders), or a range of names ({000..127}). What finds nothing is given back as it is, so
    that its row says that it is missing.

    exclude: glob patterns of names or paths that folders do not give, such as "*_thumb.jpg". skipped: told what else is
    in the folders. stores: opens the archives that are named, but none that are in folders: it gives a Member for each
    image, as a folder would. Without it an archive is a file.
    """
    seen: set[str] = set()
    skipped = Skipped() if skipped is None else skipped
    for path in _expand_globs(arguments):
        walked = _walk(path, exclude, skipped) if os.path.isdir(path) else ((path, _resolved(path)),)
        for file, real in walked:
            if real in seen:
                skipped[AGAIN] += 1
                continue
            seen.add(real)
            members = stores.members(file, lambda name: _is_wanted(name, exclude, skipped)) if stores else None
            yield from (file,) if members is None else members


def read(path: str | os.PathLike[str], most: int | None = None) -> Content:
    """Reads a regular file or a Member, of `most` bytes where they are limited. Raises ImageError."""
    if isinstance(path, Member):
        return path.read(most)
    with opened(path) as file:
        status = os.fstat(file)
        check_size(status.st_size, most)
        return Content(read_at(file, 0, status.st_size), status.st_size, status.st_mtime_ns)


def stamp(path: str) -> tuple[int | None, int]:
    """The size in bytes, where it can be known unread, and the modification time in ns. Raises OSError, ValueError."""
    if isinstance(path, Member):
        return path.stamp()
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def file_of(path: str) -> str:
    """The file on the disk that holds an image: the path itself, or a Member's archive."""
    return path.archive.path if isinstance(path, Member) else path


def _resolved(path: str) -> str:
    """The path without links; as it is where it is none, whose row says so."""
    return path if "\0" in path else os.path.realpath(path)


def _expand_globs(arguments: Iterable[str]) -> Iterator[str]:
    for argument in itertools.chain.from_iterable(map(expand_ranges, arguments)):
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
        elif why := _left_out(entry.name, entry.path, exclude):
            skipped[why] += 1
        elif _is_folder(entry):
            inside.append((_entries(entry.path, entered), _real(entry, real)))
        elif not (why := _no_image(entry.name)):
            yield entry.path, _real(entry, real)
        elif not entry.name.endswith(WORKING):
            skipped[why] += 1


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


def _left_out(name: str, path: str, exclude: Sequence[str]) -> str:
    """Why an entry of a folder or an archive is not looked at, or nothing."""
    if any(fnmatchcase(name, pattern) or fnmatchcase(path, pattern) for pattern in exclude):
        return "by --exclude"
    return "hidden" if name.startswith(".") or name in THUMBNAILS else ""


def _no_image(name: str) -> str:
    """What a file of this name is in place of an image: its suffix; nothing where it is one."""
    suffix = f".{name.rpartition('.')[2]}".lower()  # splitext finds none in "..png"
    if suffix in _suffixes():
        return ""
    return suffix if "." in name else "without a suffix"


def _is_wanted(path: str, exclude: Sequence[str], skipped: Skipped) -> bool:
    """Whether a member of an archive is one that a folder would give."""
    names = [name for name in path.split("/") if name not in ("", ".", "..")]
    why = next(filter(None, (_left_out(name, path, exclude) for name in names)), "")
    if why := why or _no_image(names[-1] if names else ""):
        skipped[why] += 1
    return not why


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
