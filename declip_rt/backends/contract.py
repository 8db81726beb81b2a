"""What an engine is: it computes batches on lanes, and a lane is one batch in flight."""

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
DEVICES = "auto, cpu, cuda[:i|i,j|all], tensorrt[:i|i,j|all] or openvino[:CPU|GPU|NPU]"
Kind: TypeAlias = Literal["cpu", "cuda", "tensorrt", "openvino"]
Precision: TypeAlias = Literal["auto", "fp32", "fp16", "bf16", "int8", "fp8"]


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
        """Takes a frame on the GPU for image i, in place of `slot(i)`. Returns its width and height in pixels.

        The frame must not change before the result. Raises ImageError for anything but a frame on the lane's GPU.
        """

    def launch(self, n: int) -> None:
        """Starts the graph on the first n slots and returns at once."""

    def result(self) -> Outputs:
        """Waits for the launched batch. Raises EngineError where it failed, or nothing was launched."""


@dataclass(frozen=True)
class EngineInfo:
    """Where an engine computes, and how.

    kind: cpu, cuda, tensorrt or openvino. index: the GPU's; None on a CPU, for OpenVINO and for several GPUs. name: the
    library and its version, and the device where that matters. precision: fp32, fp16, bf16, int8 or fp8. batch: images
    that are computed together. lanes: batches in flight. fallback: why this is not what was asked for; None where it
    is.
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
        """Waits for launched batches and frees the engine's memory. It may be called again."""


@dataclass(frozen=True)
class Device:
    """A device as users name it, see DEVICES."""

    kind: Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
    index: int = 0  # of the first GPU
    unit: str = ""  # OpenVINO's device
    others: tuple[int, ...] | None = ()  # more GPUs; None is all there are

    @staticmethod
    def parse(text: str) -> Device:
        """Raises ConfigError."""
        if match := re.fullmatch(r"openvino(?::(CPU|GPU|NPU))?", text):
            return Device("openvino", unit=match[1] or "CPU")
        if match := re.fullmatch(r"(cuda|tensorrt):all", text):
            return Device(cast(Kind, match[1]), others=None)
        if match := re.fullmatch(r"(auto|cpu)|(cuda|tensorrt)(?::(\d{1,4}(?:,\d{1,4})*))?", text):
            index, *others = map(int, (match[3] or "0").split(","))
            if index not in others and len(set(others)) == len(others):
                return Device(cast(Kind, match[1] or match[2]), index, others=tuple(others))
        raise ConfigError(f"no device is called {text!r}; choose {DEVICES}")


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How to compute. No other place has the defaults, or checks what users give.

    device: one of DEVICES; auto is the first GPU of ONNX Runtime, else the CPU, by OpenVINO where that is installed and
    the bundle proves a precision in which it is faster. precision: the graph's. auto is int8 or bf16 on a CPU that
    computes it faster, where the bundle proves that it scores as fp32 does; fp16 with TensorRT where the bundle has
    such a graph; and else fp32. batch: images that
    are computed together. threads: how many compute on a CPU; None is one for each core. lanes: batches in flight on a
    GPU; None is the engine's default. recipe: how to build a TensorRT plan, by a TOML file or the name of a recipe that
    ships; None is the installed library's default.

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
        if self.lanes is not None and kind in ("cpu", "openvino"):
            raise ConfigError('lanes are of GPUs: leave `lanes` out, or choose `device="tensorrt"` or `device="cuda"`')

    @property
    def on(self) -> Device:
        """The device."""
        return Device.parse(self.device)
