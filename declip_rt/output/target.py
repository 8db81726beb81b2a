"""Where an output may go: over no input, no other output and nothing but a file; and who is writing it."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from declip_rt.errors import ConfigError
from declip_rt.images import sources

ROWS = (".csv", ".jsonl", ".parquet")
PAGE = (".html", ".htm")
LONGEST = ".thumbnails.js.partial"  # of what is put behind an output's name


def place(option: str, given: str | Path, suffixes: tuple[str, ...]) -> Path:
    """The file that an output goes to, symlinks followed.

    Raises ConfigError where `given` has another suffix, or is or would be something other than a file in a folder that
    can be written to.
    """
    path = Path(given)
    if path.suffix.lower() not in suffixes:
        among = " or ".join(filter(None, (", ".join(suffixes[:-1]), suffixes[-1])))
        raise ConfigError(f"{option} {given}: the suffix must be {among}")
    try:
        path = path.resolve()
        with suppress(FileNotFoundError):
            path.with_name(path.name + LONGEST).lstat()  # raises where that name is too long
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{option} {given} is no file; give the name of one that can be written")
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle, up to Python 3.12
        raise ConfigError(f"cannot write {given}: {getattr(error, 'strerror', None) or error}") from error
    if not path.parent.is_dir():
        raise ConfigError(f"cannot write {given}: its folder does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ConfigError(f"cannot write {given}: permission denied")
    return path


def check_distinct(files: Mapping[str, str | Path | None]) -> None:
    """Raises ConfigError where two options name one file."""
    named = [(option, Path(file)) for option, file in files.items() if file is not None]
    for i, (option, file) in enumerate(named):
        for other, same in named[:i]:
            if _is_same(file, same):
                raise ConfigError(f"{other} and {option} name one file, {file}; give each its own")


def spare(images: Iterable[str], outputs: Iterable[Path]) -> Iterator[str]:
    """The images. Raises ConfigError at one that is an output."""
    outputs = tuple(outputs)
    suffixes = {output.suffix.lower() for output in outputs}
    checked = ""
    for image in images:
        file = sources.file_of(image)
        if file != checked and os.path.splitext(file)[1].lower() in suffixes:
            for output in outputs:
                if _is_same(Path(file), output):
                    raise ConfigError(f"{file} is an image to score and an output; give the output another name")
        checked = file
        yield image


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds PATH.lock, which says who writes `path`; what a killed run left of it hinders nobody.

    Raises ConfigError where another process holds it.
    """
    lock = path.with_name(path.name + ".lock")
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            who = os.read(file, 200).decode("utf-8", "replace").strip()
            os.close(file)
            raise ConfigError(f"{path} is being written by {who or 'another process'}: wait for it") from error
        with suppress(OSError):
            if os.path.samestat(os.fstat(file), os.stat(lock)):  # else its owner has just removed it
                break
        os.close(file)
    try:
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(file)


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError, RuntimeError, ValueError):
        return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
    return False
