"""Files: written in one step, and read as text."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from declip_rt.errors import ConfigError

T = TypeVar("T")


def write_whole(path: Path, content: bytes | Callable[[Path], object], *, shared: bool = False) -> None:
    """Writes a file in one step: whoever reads it, and whenever a run is killed, finds the old one or the new one.

    content: its bytes, or what writes them to the path that it is given. shared: another process may write the same
    file at the same time. Raises OSError, and what `content` raises.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial" if shared else f"{path.name}.partial")
    partial.unlink(missing_ok=True)  # what a killed run has left, or a link that someone has put there
    try:
        if callable(content):
            content(partial)
        else:
            with partial.open("xb") as file:
                file.write(content)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_text(path: str | Path) -> str:
    """The text without a byte order mark. A byte that is no UTF-8 becomes a surrogate. Raises OSError."""
    return os.fsdecode(Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf"))


def read_toml(path: Path, kind: type[T]) -> T:
    """What a file holds. Raises ConfigError where it has an unknown key, lacks one, or has a value of another type."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"cannot use {path}: {error}") from error


def read_csv(path: str | Path) -> csv.DictReader[str]:
    """The rows below the header. Raises OSError."""
    return csv.DictReader(io.StringIO(read_text(path), newline=""))
