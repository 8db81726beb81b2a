"""What one would run instead of declip-rt, behind the same lanes, so that it is measured in the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends import parity
from declip_rt.backends.contract import Device, Engine, EngineInfo, Floats, Kind, Lane, Outputs
from declip_rt.errors import DeclipError, EngineError, ImageError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import LIMITS, ViewSpec

Pixels = NDArray[np.uint8]  # (N, V, S, S, 3)


@dataclass(frozen=True)
class Task:
    """What a rival is to do.

    device: cpu, or else a GPU. half: whether a rival may use FP16 on it. threads: on a CPU; None is the rival's own
    default.
    """

    bundle: Bundle
    device: Device
    batch: int
    precision: str  # of the graph that declip-rt runs
    half: bool = True
    threads: int | None = None

    @property
    def where(self) -> str:
        return "cpu" if self.device.kind == "cpu" else f"cuda:{self.device.index}"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.batch, *self.bundle.views.shape)


class Opener(Protocol):
    """A kind of rival."""

    def check(self) -> None:
        """Raises ConfigError where what it needs is missing. It is called before anything is measured."""

    def open(self, task: Task) -> Engine:
        """Opens the rival with its default settings.

        Raises:
            EngineError: it cannot be opened.
            ConfigError: what it was given is not of the task's bundle.
        """


def scores(engine: Engine, views: ViewSpec) -> Floats:
    """Of pictures, the same every time: a whole batch (batch, K)."""
    pictures, lane = parity.pictures(views), engine.lanes[0]
    for i in range(engine.info.batch):
        lane.slot(i)[...] = pictures[i % len(pictures)]
    lane.launch(engine.info.batch)
    return lane.result().scores


def compare(rival: Engine, ours: Floats, precision: str, views: ViewSpec) -> float:
    """The largest difference of the rival's scores from `ours`, computed in `precision`.

    Raises EngineError where it is so large that the rival computes something else.
    """
    difference = float(np.abs(scores(rival, views) - ours).max())
    most = max(map(_limit, (precision, rival.info.precision)))
    if not difference <= most:  # which NaN is not
        raise EngineError(
            f"{rival.info} is not measured: its scores differ from declip-rt's by {difference:.2g}, at most {most:g}"
        )
    return difference


def _limit(precision: str) -> float:
    """How far scores of a precision may be from others."""
    return parity.BATCH_EFFECT if precision == "fp32" else LIMITS[precision].change


class Rival:
    """An engine of some other maker."""

    def __init__(self, task: Task, name: str, precision: str, lanes: Sequence[Lane]) -> None:
        kind: Kind = "cpu" if task.device.kind == "cpu" else "cuda"
        index = None if kind == "cpu" else task.device.index
        self.info = EngineInfo(kind, index, name, precision, task.batch, len(lanes))
        self.lanes: Sequence[Lane] = lanes

    @property
    def is_closed(self) -> bool:
        return not self.lanes

    def close(self) -> None:
        self.lanes = ()


class HostLane:
    """A batch in plain memory, given to a function that returns when it is computed."""

    def __init__(self, buffer: Pixels, compute: Callable[[Pixels], Sequence[Any]]) -> None:
        self._buffer, self._compute = buffer, compute
        self._found: Sequence[Any] = ()

    def slot(self, i: int) -> Pixels:
        slot: Pixels = self._buffer[i]
        return slot

    def put(self, i: int, frame: object) -> tuple[int, int]:
        raise ImageError("a rival takes no frames")

    def launch(self, n: int) -> None:
        try:
            self._found = self._compute(self._buffer[:n])
        except DeclipError:
            raise
        except Exception as error:  # of any kind, from torch's compiler above all
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise EngineError(f"the rival failed: {why}") from error

    def result(self) -> Outputs:
        return Outputs(*map(np.array, self._found))
