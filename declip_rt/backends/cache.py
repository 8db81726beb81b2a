"""The folder of what takes long to make: built plans, and proofs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from declip_rt.errors import ConfigError

FOLDER = "DECLIP_RT_CACHE"  # environment variable


def folder() -> Path:
    """$DECLIP_RT_CACHE, or the user's cache folder."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else user_cache_path("declip-rt") / "plans"


@contextmanager
def locked(place: Path, key: str) -> Iterator[None]:
    """Makes the folder, and lets one process at a time use what has this key.

    Raises ConfigError where the folder cannot be written, or everybody may write to it.
    """
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(place)
        with FileLock(place / f"{key}.lock"):
            yield
    except OSError as error:
        raise ConfigError(f"cannot use the plans in {place}: {error}; set {FOLDER} to a folder") from error


def is_trusted(path: Path) -> bool:
    """Whether a file and its folder are this user's or root's, and not everybody may write there. Raises OSError."""
    if os.name != "posix":
        return True
    owners = {each.lstat().st_uid for each in (path, path.parent)}
    return owners <= {os.geteuid(), 0} and not _is_open(path.parent)


def _is_open(place: Path) -> bool:
    return os.name == "posix" and bool(place.stat().st_mode & stat.S_IWOTH)


def _check(place: Path) -> None:
    if _is_open(place):
        raise ConfigError(
            f"everybody may write to {place}, and so put plans there that run on your GPU: "
            f"chmod o-w {place}, or set {FOLDER} to a folder of your own"
        )
