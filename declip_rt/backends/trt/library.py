"""TensorRT or TensorRT for RTX: imported in one place, with its log."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from declip_rt.backends.trt.recipe import Recipe
from declip_rt.errors import Unavailable

EXTRAS = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}

SHOWN = 3  # of TensorRT's own lines, in an error


def library(recipe: Recipe) -> ModuleType:
    """The recipe's library. Raises Unavailable where it is not installed."""
    try:
        return importlib.import_module(recipe.library)
    except Exception as error:  # a missing CUDA library is an OSError or RuntimeError
        extra = EXTRAS[recipe.library]
        raise Unavailable(f'{recipe.library} cannot be used ({error}); pip install "declip-rt[{extra}]"') from error


def logged(log: Any) -> str:
    """The first lines of a `logger`, for an error."""
    return join(log.lines)


def join(lines: Sequence[str]) -> str:
    return " | ".join(lines[:SHOWN]) or "it gave no reason"


def logger(trt: ModuleType) -> Any:
    """A trt.ILogger that keeps what TensorRT says of errors."""

    class Log(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.lines.append(message.strip())

    return Log()
