"""What runs a bundle's graph: an engine owns lanes, and a lane is one batch in flight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from declip_rt.errors import EngineError

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
