"""What a bundle of a stranger may not hold: a bundle.json or files that would hang, mislead or drive a terminal."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from declip_rt.errors import BundleError
from declip_rt.model.manifest import Manifest

MOST_BYTES = 16 * 2**20  # of bundle.json
MOST_SIDE, MOST_VIEWS, MOST_HEADS, MOST_FEATURES = 2048, 64, 1000, 2**16
HEAD = re.compile(r"[a-z][a-z0-9_]{0,63}")
TAKEN = {  # columns of every row
    *("path", "width", "height", "size", "mtime_ns", "error", "damaged", "preview", "percentile", "findings"),
    *("model", "bundle", "precision", "decode_scale", "icc", "prompts_hash"),
}


def read(file: Path) -> bytes:
    """The bytes of a bundle.json. Raises BundleError where it is no file, too large or cannot be read."""
    try:
        check_regular(file)
        if file.stat().st_size > MOST_BYTES:
            raise BundleError(f"{file} is larger than {MOST_BYTES // 2**20} MiB, so it is no bundle.json")
        return file.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {file}: {error.strerror}") from error


def check_regular(file: Path) -> None:
    """Raises BundleError where `file`, or what it links to, is a pipe, a device or a folder. Raises OSError."""
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise BundleError(f"{file} is not a regular file; export or install the bundle again")


def check(manifest: Manifest, file: Path) -> None:
    """Raises BundleError where a name, a text or a size is not what a bundle can have."""
    for head in manifest.heads:
        if not HEAD.fullmatch(head.name) or head.name in TAKEN:
            raise BundleError(
                f"{file} calls a head {head.name!r}; it must be a word in lower case, and no column's name"
            )
    views = manifest.views
    for what, found, most in (
        ("views.size", views.size, MOST_SIDE),
        ("views", len(views.placements), MOST_VIEWS),
        ("heads", len(manifest.heads), MOST_HEADS),
        ("features", manifest.features, MOST_FEATURES),
    ):
        if found > most:
            raise BundleError(f"{file} has {what} of {found:,}, more than {most:,}")
    for name, marks in manifest.calibration.percentiles.items() if manifest.calibration else ():
        if list(marks) != sorted(marks):
            raise BundleError(f"{file} has percentiles of {name} that fall")
    for text in _texts(msgspec.to_builtins(manifest)):
        if not all(c.isprintable() or c in "\n\t" for c in text):
            raise BundleError(f"{file} has control characters in {text[:40]!a}")


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for name, value in part.items():
            yield from _texts(name)
            yield from _texts(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from _texts(value)
