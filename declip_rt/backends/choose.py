"""Which engine: the only place that knows all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from declip_rt.backends.contract import Engine
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.errors import ConfigError, EngineError
from declip_rt.model.bundle import Bundle
from declip_rt.stats import Stats

PRECISIONS = ("auto", "fp32", "fp16", "int8")


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
        from declip_rt.backends.trt.engine import TensorRtEngine

        return TensorRtEngine(bundle, wanted.index, batch, precision, lanes, recipe, stats, say)
    from declip_rt.backends.onnxrt.cpu import OnnxEngine
    from declip_rt.backends.onnxrt.cuda import OnnxCudaEngine, has_cuda

    if wanted.kind == "cuda":
        return _proven(OnnxCudaEngine(bundle, wanted.index, batch, precision, lanes, stats, say), bundle)
    if wanted.kind == "auto" and precision != "int8" and has_cuda():
        try:
            return _proven(OnnxCudaEngine(bundle, 0, batch, precision, lanes, stats, say), bundle)
        except EngineError as error:
            say(f"computing on the CPU: {error}")
    if lanes is not None:
        raise ConfigError("lanes are of GPUs; leave --lanes out, or choose --device tensorrt or cuda")
    return OnnxEngine(bundle, batch, precision, threads, stats)


def _proven(engine: Engine, bundle: Bundle) -> Engine:
    """The engine, open, where it is the reference's precision or scores as the reference does."""
    from declip_rt.backends import parity

    try:
        if engine.precision != "fp32":
            parity.check(engine, bundle)
    except EngineError:
        engine.close()
        raise
    return engine
