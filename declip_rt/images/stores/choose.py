"""Which paths are archives, by their suffix, and the ranges of names that archives have."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from declip_rt.images.stores import parquet, tar, zip
from declip_rt.images.stores.archive import Fault, Member, Wanted

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class Stores:
    """Opens archives. image_column: that of Parquet tables; None is their first that may hold images."""

    image_column: str | None = None

    def members(self, path: str, is_wanted: Wanted) -> Iterator[Member] | None:
        """The images in an archive, of which tars and zips may hold other files; None where it is none."""
        name = path.lower()
        if name.endswith(".tar"):
            return tar.members(path, is_wanted)
        if name.endswith(".zip"):
            return zip.members(path, is_wanted)
        if name.endswith(".parquet"):
            return parquet.members(path, self.image_column)
        if name.endswith(COMPRESSED):
            reason = "a compressed tar, where no file can be found without unpacking all before it: decompress it first"
            return iter((Fault.of(path, f"{reason} (photos do not get smaller by it)"),))
        return None


def expand_ranges(argument: str) -> Iterator[str]:
    """The names that {000..127} in an argument stands for; the argument itself where it has none, or is a file."""
    match = None if "\0" in argument or os.path.lexists(argument) else RANGE.search(argument)
    if match is None:
        yield argument
        return
    first, last = match.groups()
    width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
    for number in range(int(first), int(last) + 1):
        yield from expand_ranges(f"{argument[: match.start()]}{number:0{width}}{argument[match.end() :]}")
