"""The exceptions that declip-rt raises. A message says what was found, what was expected, and what to do next.

Messages name arguments of the Python API in backticks (`batch`, `device="cpu"`); the command line makes flags of them.
"""

from __future__ import annotations

from collections.abc import Sequence

MOST = 1024  # images of a batch, threads, lanes: more is a slip of the hand


class DeclipError(Exception):
    """Root of all errors raised on purpose by declip-rt."""


class ImageError(DeclipError, ValueError):
    """One image cannot be read or decoded.

    Attributes:
        reason: why, without the image's name.
        image: its path as it was given; None where it has none.
        index: its place among the images of a `score_many` or `embed_many`, from 0; None elsewhere.
    """

    def __init__(self, reason: str, image: str | None = None, index: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.image, self.index = reason, image, index

    def __str__(self) -> str:
        name = self.image if self.image is not None else None if self.index is None else f"image {self.index}"
        return self.reason if name is None else f"{name}: {self.reason}"


class BundleError(DeclipError, ValueError):
    """A model bundle is missing, incomplete or altered."""


class EngineError(DeclipError, RuntimeError):
    """An inference engine or its device is missing, or failed."""


class ParityError(EngineError):
    """An engine does not score as the reference does."""


class OutOfMemory(EngineError):
    """The GPU, or the host for pinned memory, has too little left."""


class Unavailable(DeclipError, ImportError):
    """An optional library is not installed or cannot be imported, or is not made for the device that is here."""


class ConfigError(DeclipError, ValueError):
    """The command, a configuration file or an argument is wrong."""

    @classmethod
    def check_counts(cls, **counts: int | None) -> None:
        """Raises a ConfigError for the first argument that is given and not from 1 to MOST."""
        for name, count in counts.items():
            if count is not None and count < 1:
                raise cls(f"`{name}` must be at least 1, not {count}")
            if count is not None and count > MOST:
                raise cls(f"`{name}` must be at most {MOST:,}, not {count:,}")

    @classmethod
    def check_choice(cls, name: str, given: str, choices: Sequence[str]) -> None:
        """Raises a ConfigError where the argument is none of its choices."""
        if given not in choices:
            raise cls(f"`{name}` cannot be {given!r}; choose {', '.join(choices[:-1])} or {choices[-1]}")
