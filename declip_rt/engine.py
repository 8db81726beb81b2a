"""What runs a bundle's graph: an engine owns lanes, and a lane is one batch in flight."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from declip_rt.bundle import Bundle
from declip_rt.errors import ConfigError, EngineError
from declip_rt.recipe import Recipe
from declip_rt.stats import Stats

PRECISIONS = ("auto", "fp32", "fp16", "int8")
INPUT, OUTPUTS = "pixels", ("scores", "perceptual", "semantic")
Floats = NDArray[np.float32]


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
                raise EngineError(
                    f"the engine returned non-finite {name} for {bad} of {len(values)} images; "
                    "try --precision fp32 or --device cpu, and please report the model"
                )


class Lane(Protocol):
    """One batch in flight, with its own input buffer."""

    def slot(self, i: int) -> NDArray[np.uint8]:
        """Writable memory (V, S, S, 3) for image i, 0 <= i < the engine's batch."""

    def put(self, i: int, frame: object) -> tuple[int, int]:
        """Takes a frame that is on the GPU for image i, instead of `slot(i)`; returns its width and height in pixels.

        It must not change before the result. Raises ImageError where it is no such frame, or the lane is not there.
        """

    def launch(self, n: int) -> None:
        """Starts the graph on the first n slots and returns at once."""

    def result(self) -> Outputs:
        """Waits for the launched batch. Raises EngineError where it failed."""


class Engine(Protocol):
    """A graph loaded on a device."""

    device: str  # where it runs and what runs it, in words
    batch: int  # slots a lane
    precision: str  # of the graph: fp32, fp16 or int8

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
    lanes: int | None = None,
    recipe: Recipe | None = None,
    stats: Stats | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Engine:
    """Loads the bundle's graph of a precision (auto, fp32, fp16 or int8) on the device.

    threads: that compute on a CPU; None is one a core. lanes: batches in flight on a GPU. recipe: of a TensorRT plan;
    None is the default one. stats: told how long the engine computed. say: told in a line what takes long, and what
    was done otherwise than asked.

    Raises:
        EngineError: the device, its driver or its library is missing; the message says which.
        BundleError: the bundle has no graph of this precision.
        ConfigError: `device` or `precision` names none, `batch` or `lanes` is not positive, or an option is of another
            device.
    """
    wanted, stats = Device.parse(device), stats or Stats()
    if precision not in PRECISIONS:
        raise ConfigError(f"no precision is called {precision!r}; choose {', '.join(PRECISIONS)}")
    for name, count in (("the batch", batch), ("lanes", lanes)):
        if count is not None and count < 1:
            raise ConfigError(f"{name} must be at least 1, not {count}")
    if recipe is not None and wanted.kind != "tensorrt":
        raise ConfigError("a recipe is for TensorRT: add --device tensorrt, or leave --recipe out")
    if wanted.kind == "tensorrt":
        from declip_rt.tensorrt_engine import TensorRtEngine

        return TensorRtEngine(bundle, wanted.index, batch, precision, lanes, recipe, stats, say)
    from declip_rt.onnx_cuda_engine import OnnxCudaEngine, has_cuda
    from declip_rt.onnx_engine import OnnxEngine

    if wanted.kind == "cuda":
        return OnnxCudaEngine(bundle, wanted.index, batch, precision, lanes, stats, say)
    if wanted.kind == "auto" and precision != "int8" and has_cuda():
        try:
            return OnnxCudaEngine(bundle, 0, batch, precision, lanes, stats, say)
        except EngineError as error:
            say(f"computing on the CPU: {error}")
    if lanes is not None:
        raise ConfigError("lanes are of GPUs; leave --lanes out, or choose --device tensorrt or cuda")
    return OnnxEngine(bundle, batch, precision, threads, stats)
