"""The 1000 classes of ImageNet: their names, what a dictionary says of them, and what they are kinds of."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from timm.data import ImageNetInfo


class Class(NamedTuple):
    names: tuple[str, ...]  # the usual one first
    definition: str  # of WordNet
    kinds: tuple[str, ...]  # WordNet's hypernyms, the nearest first, without the most abstract (imagenet.txt)


@cache
def classes() -> tuple[Class, ...]:
    """All, in their order."""
    info = ImageNetInfo()  # slow to make
    described = (info.index_to_description(i, detailed=True).split(": ", 1) for i in range(info.num_classes()))
    lines = Path(__file__).with_suffix(".txt").read_text().splitlines()
    kinds = (tuple(line.split(", ")) for line in lines if not line.startswith("#"))
    return tuple(
        Class(tuple(names.split(", ")), definition, own)
        for (names, definition), own in zip(described, kinds, strict=True)
    )


@cache
def numbers() -> dict[str, tuple[int, ...]]:
    """The classes of each of their names, and of all names of one together, in lower case. Some are of several."""
    found: dict[str, tuple[int, ...]] = {}
    for number, one in enumerate(classes()):
        for name in dict.fromkeys([*one.names, ", ".join(one.names)]):
            found[name.lower()] = (*found.get(name.lower(), ()), number)
    return found
