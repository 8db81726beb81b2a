"""Imports TensorRT or TensorRT for RTX, and keeps its log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from declip_rt.backends.trt.recipe import Recipe
from declip_rt.errors import EngineError
from declip_rt.extras import load

FIRST_LINES = 2  # of TensorRT's log that an error shows
MOST_LINES = 1000  # that are kept


def library(recipe: Recipe) -> ModuleType:
    """The recipe's library. Raises Unavailable where it is not installed."""
    return load(recipe.library)


class Said:
    """What a library has said of errors since it was made; as text the first words, with the cause, and the last."""

    def __init__(self, trt: ModuleType) -> None:
        self.log = logger(trt)
        self._before = self.log.count

    def __str__(self) -> str:
        lines = list(self.log.lines)
        lines = lines[len(lines) - min(len(lines), self.log.count - self._before) :]
        return " | ".join(dict.fromkeys([*lines[:FIRST_LINES], *lines[-1:]])) or "it gave no reason"

    def started(self, start: Callable[[Any], Any], what: str) -> Any:
        """What `start` makes, given the logger. Raises EngineError where the library makes nothing."""
        try:
            made = start(self.log)
        except TypeError as error:  # pybind11's, for a factory that returns nothing
            raise EngineError(
                f"{what}: {self}; check that nvidia-smi lists the GPU, and its driver's version"
            ) from error
        if made is None:
            raise EngineError(f"{what}: {self}")
        return made


@cache
def logger(trt: ModuleType) -> Any:
    """The trt.ILogger that keeps a library's errors.

    There is one for the life of the process: TensorRT goes on using the first that it was given.
    """

    class Log(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines, self.count = deque[str](maxlen=MOST_LINES), 0

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.lines.append(message.strip())
                self.count += 1

    return Log()
