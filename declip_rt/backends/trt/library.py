"""Imports TensorRT or TensorRT for RTX, and keeps its log."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from declip_rt.backends.trt.recipe import Recipe
from declip_rt.extras import load

LOG_LINES = 3  # lines of TensorRT's log that an error shows


def library(recipe: Recipe) -> ModuleType:
    """The recipe's library. Raises Unavailable where it is not installed."""
    return load(recipe.library)


def shorten(lines: Sequence[str]) -> str:
    """The first LOG_LINES of the library's log, for an error."""
    return " | ".join(lines[:LOG_LINES]) or "it gave no reason"


def logger(trt: ModuleType) -> Any:
    """A trt.ILogger that keeps TensorRT's errors."""

    class Log(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.lines.append(message.strip())

    return Log()
