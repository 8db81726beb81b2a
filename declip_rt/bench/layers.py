"""How long each layer of an engine takes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from declip_rt.backends.contract import Device, EngineInfo, EngineOptions
from declip_rt.backends.layers import Layers
from declip_rt.backends.onnxrt.cpu import open_graph
from declip_rt.backends.onnxrt.layers import read_profile
from declip_rt.bench.measure import Effort, fill
from declip_rt.errors import ConfigError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import INPUT, OUTPUTS
from declip_rt.stats import Stats


def check(device: Device) -> None:
    """Raises ConfigError where the engines of a device do not tell of their layers."""
    if device.kind not in ("cpu", "tensorrt") or device.others != ():
        raise ConfigError("--layers needs --device cpu or tensorrt, and one GPU: others do not tell of their layers")


def measure(bundle: Bundle, options: EngineOptions, info: EngineInfo, effort: Effort) -> Layers:
    """Of batches of noise, one at a time. info: of an engine that these options have opened.

    A CUDA graph runs all layers at once, so that they are timed without one, and waited for. Raises EngineError.
    """
    if info.kind == "tensorrt":
        return _of_plan(bundle, replace(options, batch=info.batch, lanes=1), effort)
    return _of_graph(bundle, options, info, effort)


def _of_plan(bundle: Bundle, options: EngineOptions, effort: Effort) -> Layers:
    from declip_rt.backends.trt.engine import open_plan
    from declip_rt.backends.trt.layers import LayerWatch

    watch = LayerWatch()
    with closing(open_plan(bundle, options, Stats(), watch)) as engine:
        lane, batch = engine.lanes[0], engine.info.batch
        fill(engine, bundle.views)

        def step() -> None:
            lane.launch(batch)
            lane.result()

        effort.warm(step)
        watch.totals.clear()
        runs = len(effort.times(step)) - 1
        return Layers.of(str(engine.info), batch, runs, watch.totals, watch.known)


def _of_graph(bundle: Bundle, options: EngineOptions, info: EngineInfo, effort: Effort) -> Layers:
    pixels = np.random.default_rng(0).integers(0, 256, (info.batch, *bundle.views.shape), np.uint8)
    with TemporaryDirectory() as folder:
        session, *_ = open_graph(bundle, options, Path(folder) / "profile")

        def step() -> None:
            session.run(OUTPUTS, {INPUT: pixels})

        warm = effort.warm(step)
        effort.times(step)
        runs, totals, known = read_profile(Path(session.end_profiling()), skip=warm)
    return Layers.of(str(info), info.batch, runs, totals, known)
