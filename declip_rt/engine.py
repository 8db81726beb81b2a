"""What runs a bundle's graph: an engine owns lanes, and a lane is one batch in flight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from declip_rt.bundle import Bundle
from declip_rt.errors import ConfigError, EngineError
from declip_rt.stats import Stats

PRECISIONS = ("auto", "fp32", "int8")
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Outputs:
    """The graph's outputs for n images: `scores` (n, K) in [0, 1]; `perceptual`, `semantic` (n, D), L2-normalised."""

    scores: Floats
    perceptual: Floats
    semantic: Floats

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if not np.isfinite(values).all():
                raise EngineError(
                    f"the engine returned non-finite {name}; try --device cpu, and please report the model"
                )


class Lane(Protocol):
    """One batch in flight, with its own input buffer."""

    def slot(self, i: int) -> NDArray[np.uint8]:
        """Writable memory (V, S, S, 3) for image i, 0 <= i < the engine's batch."""

    def launch(self, n: int) -> None:
        """Starts the graph on the first n slots and returns at once."""

    def result(self) -> Outputs:
        """Waits for the launched batch. Raises EngineError where it failed."""


class Engine(Protocol):
    """A graph loaded on a device."""

    device: str  # where it runs and what runs it, in words
    batch: int  # slots a lane
    precision: str  # of the graph: fp32 or int8

    @property
    def lanes(self) -> Sequence[Lane]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Device:
    """A device as users name it: auto, cpu, cuda[:i], tensorrt[:i]."""

    kind: str
    index: int = 0

    @staticmethod
    def parse(text: str) -> Device:
        """Raises ConfigError."""
        match = re.fullmatch(r"(auto|cpu)|(cuda|tensorrt)(?::(\d+))?", text)
        if match is None:
            raise ConfigError(f"no device is called {text!r}; choose auto, cpu, cuda[:i] or tensorrt[:i]")
        return Device(match[1] or match[2], int(match[3] or 0))


def open_engine(
    bundle: Bundle,
    device: str = "auto",
    batch: int = 8,
    *,
    precision: str = "auto",
    threads: int | None = None,
    stats: Stats | None = None,
) -> Engine:
    """Loads the bundle's graph of a precision (auto, fp32 or int8) on the device.

    threads: that compute on a CPU; None is one a core. stats: told how long the engine computed.

    Raises:
        EngineError: the device, its driver or its library is missing; the message says which.
        BundleError: the bundle has no graph of this precision.
        ConfigError: `device` or `precision` names none, or `batch` is not positive.
    """
    wanted = Device.parse(device)
    if precision not in PRECISIONS:
        raise ConfigError(f"no precision is called {precision!r}; choose {', '.join(PRECISIONS)}")
    if batch < 1:
        raise ConfigError(f"the batch must be at least 1, not {batch}")
    if wanted.kind == "tensorrt":
        raise EngineError(
            "this version of declip-rt has no TensorRT engine; use --device cuda (declip-rt[cuda]) or --device cpu"
        )
    from declip_rt.onnx_engine import OnnxEngine

    return OnnxEngine(bundle, wanted, batch, precision, threads, stats or Stats())
