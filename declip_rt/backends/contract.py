"""What computes batches: an engine owns lanes, and a lane is one batch in flight."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from declip_rt.errors import ConfigError, ParityError

Floats: TypeAlias = NDArray[np.float32]
Kind: TypeAlias = Literal["cpu", "cuda", "tensorrt"]
Precision: TypeAlias = Literal["auto", "fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Outputs:
    """The graph's outputs for n images: `scores` (n, K) in [0, 1]; `perceptual`, `semantic` (n, D), L2-normalised."""

    scores: Floats
    perceptual: Floats
    semantic: Floats

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            bad = len(values) - np.isfinite(values).all(1).sum()
            if bad:
                raise ParityError(
                    f"the engine returned non-finite {name} for {bad} of {len(values)} images; "
                    'try `precision="fp32"` or `device="cpu"`, and please report the model'
                )


class Lane(Protocol):
    """One batch in flight, with its own input buffer. Each method raises EngineError once its engine is closed."""

    def slot(self, i: int) -> NDArray[np.uint8]:
        """Writable memory (V, S, S, 3) for image i, 0 <= i < the engine's batch."""

    def put(self, i: int, frame: object) -> tuple[int, int]:
        """Takes a frame that is on the GPU for image i, instead of `slot(i)`; returns its width and height in pixels.

        It must not change before the result. Raises ImageError where it is no such frame, or the lane is not there.
        """

    def launch(self, n: int) -> None:
        """Starts the graph on the first n slots and returns at once."""

    def result(self) -> Outputs:
        """Waits for the launched batch. Raises EngineError where it failed, or nothing was launched."""


@dataclass(frozen=True)
class EngineInfo:
    """Where an engine computes, and how.

    kind: cpu, cuda or tensorrt. index: of the GPU; None on a CPU. name: of the library that computes, with its version,
    and of the GPU where that matters. precision: of the graph: fp32, fp16 or int8. batch: images that are computed
    together. lanes: batches in flight. fallback: why this is not what was asked for; None where it is.
    """

    kind: Kind
    index: int | None
    name: str
    precision: str
    batch: int
    lanes: int
    fallback: str | None = None

    @property
    def where(self) -> str:
        """The device as users name it."""
        return self.kind if self.index is None else f"{self.kind}:{self.index}"

    def __str__(self) -> str:
        return f"{self.where} ({self.name}, {self.precision})"


class Engine(Protocol):
    """A graph loaded on a device."""

    @property
    def info(self) -> EngineInfo: ...

    @property
    def lanes(self) -> Sequence[Lane]:
        """Empty once the engine is closed."""

    @property
    def is_closed(self) -> bool: ...

    def close(self) -> None:
        """Waits for what is launched, and frees all that the engine holds. It may be called again."""


@dataclass(frozen=True)
class Device:
    """A device as users name it: auto, cpu, cuda[:i], tensorrt[:i]."""

    kind: Literal["auto", "cpu", "cuda", "tensorrt"]
    index: int = 0

    @staticmethod
    def parse(text: str) -> Device:
        """Raises ConfigError."""
        match = re.fullmatch(r"(auto|cpu)|(cuda|tensorrt)(?::(\d{1,4}))?", text)
        if match is None:
            raise ConfigError(f"no device is called {text!r}; choose auto, cpu, cuda[:i] or tensorrt[:i]")
        return Device(cast(Kind, match[1] or match[2]), int(match[3] or 0))


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How to compute. This is the one place that has the defaults, and checks what users give.

    device: auto, cpu, cuda[:i] or tensorrt[:i]. precision: of the graph; auto is int8 on a CPU where the bundle proves
    that it scores as fp32 does, and fp16 with TensorRT where the bundle has such a graph. batch: images that are
    computed together. threads: that compute on a CPU; None is one a core. lanes: batches in flight on a GPU; None is
    the engine's default. recipe: how to build a TensorRT plan, as a TOML file or the name of one that ships; None is
    the default of the library that is installed.

    Raises:
        ConfigError: an unknown device or precision, a count below 1, or an option that is not for this device.
    """

    device: str = "auto"
    precision: Precision = "auto"
    batch: int = 8
    threads: int | None = None
    lanes: int | None = None
    recipe: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        kind = self.on.kind
        ConfigError.check_choice("precision", self.precision, get_args(Precision))
        ConfigError.check_counts(batch=self.batch, threads=self.threads, lanes=self.lanes)
        if self.recipe is not None and kind != "tensorrt":
            raise ConfigError('a recipe is for TensorRT: add `device="tensorrt"`, or leave `recipe` out')
        if self.lanes is not None and kind == "cpu":
            raise ConfigError('lanes are of GPUs: leave `lanes` out, or choose `device="tensorrt"` or `device="cuda"`')

    @property
    def on(self) -> Device:
        """The device."""
        return Device.parse(self.device)
