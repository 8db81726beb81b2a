"""Empties the code for other GPUs in a shared library, so that it packs small: `python one_architecture.py LIBRARY 90`.

A fatbin is a header and entries of code, each for one architecture; nothing in it moves.
"""

from __future__ import annotations

import struct
import sys
from collections import Counter
from pathlib import Path

MAGIC = struct.pack("<IHH", 0xBA55ED50, 1, 16)  # a fatbin's, its version, the size of its header


def empty_others(data: bytearray, architecture: int) -> Counter[int]:
    """The bytes of code that are left, and of each other architecture, negative, those that went. PTX goes, too."""
    sizes, at = Counter[int](), data.find(MAGIC)
    while at >= 0:
        entry = at + 16
        end = entry + struct.unpack_from("<Q", data, at + 8)[0]
        while entry < end:
            kind, _, header, size = struct.unpack_from("<HHIQ", data, entry)
            (found,) = struct.unpack_from("<I", data, entry + 28)
            keeps = kind == 2 and found == architecture  # kind 1 is PTX
            sizes[found if keeps else -found] += size
            if not keeps:
                data[entry + header : entry + header + size] = bytes(size)
            entry += header + size
        at = data.find(MAGIC, end)
    return sizes


def main(path: Path, architecture: int) -> None:
    data = bytearray(path.read_bytes())
    sizes = empty_others(data, architecture)
    if not sizes[architecture]:
        sys.exit(f"{path} has no code for {architecture}, but for {sorted(-each for each in sizes)}")
    path.write_bytes(data)
    print(f"{path.name}: {sizes[architecture]} bytes of code for {architecture} are left")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
