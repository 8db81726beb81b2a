"""Builds plans with TensorRT or TensorRT for RTX, whose Python interfaces are alike."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from declip_rt.bundle import Bundle
from declip_rt.errors import ConfigError, EngineError
from declip_rt.recipe import Recipe

EXTRAS = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}
INPUT = "pixels"
SHOWN = 3  # of TensorRT's own lines, in an error
Progress = Callable[[str, int, int], None]  # phase, steps done, steps in all


def library(recipe: Recipe) -> ModuleType:
    """The recipe's library. Raises EngineError where it is not installed."""
    try:
        return importlib.import_module(recipe.library)
    except Exception as error:  # a missing CUDA library is an OSError or RuntimeError
        extra = EXTRAS[recipe.library]
        raise EngineError(f'{recipe.library} cannot be used ({error}); pip install "declip-rt[{extra}]"') from error


def build(bundle: Bundle, recipe: Recipe, targets: Sequence[str] = (), progress: Progress | None = None) -> bytes:
    """The plan of the bundle's graph, with an optimisation profile for each of the recipe's batches.

    targets: compute capabilities (sm89) to build for ahead of time, with TensorRT for RTX; none is this machine's GPU.

    Raises:
        BundleError: the bundle has no such graph.
        ConfigError: a target has no meaning to the library.
        EngineError: the library is missing, or it cannot parse or build the graph; with its own words.
    """
    graph, trt = bundle.graph(recipe.graph), library(recipe)
    log = _log(trt)
    builder = _made(trt.Builder(log), log, "cannot start a builder; check that nvidia-smi lists the GPU")
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise EngineError(f"{recipe.library} {trt.__version__} cannot parse {graph}: {_joined(reasons + log.lines)}")
    config = _configured(trt, builder, bundle, recipe, targets)
    if progress is not None:
        config.progress_monitor = _monitor(trt, progress)
    plan = builder.build_serialized_network(network, config)
    return bytes(_made(plan, log, f"{recipe.library} {trt.__version__} cannot build {graph}"))


def _configured(trt: ModuleType, builder: Any, bundle: Bundle, recipe: Recipe, targets: Sequence[str]) -> Any:
    config = builder.create_builder_config()
    for batch in recipe.batches:
        profile, shape = builder.create_optimization_profile(), (batch, *bundle.views.shape)
        profile.set_shape(INPUT, shape, shape, shape)
        config.add_optimization_profile(profile)
    if recipe.optimization_level is not None:
        config.builder_optimization_level = recipe.optimization_level
    if recipe.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, recipe.workspace_mb * 2**20)
    if targets:
        _aim(trt, config, recipe, targets)
    return config


def _aim(trt: ModuleType, config: Any, recipe: Recipe, targets: Sequence[str]) -> None:
    if not hasattr(trt, "ComputeCapability"):
        raise ConfigError(f"--for needs TensorRT for RTX; {recipe.library} builds for the GPU that it runs on")
    known = {name.lower(): value for name, value in trt.ComputeCapability.__members__.items() if name.startswith("SM")}
    config.num_compute_capabilities = len(targets)
    for i, target in enumerate(targets):
        if target not in known:
            raise ConfigError(
                f"{recipe.library} knows no GPU called {target!r}; choose from {', '.join(sorted(known))}"
            )
        config.set_compute_capability(known[target], i)


def _made(thing: Any, log: Any, what: str) -> Any:
    if thing is None:
        raise EngineError(f"{what}: {_joined(log.lines)}")
    return thing


def _joined(lines: Sequence[str]) -> str:
    return " | ".join(lines[:SHOWN]) or "it gave no reason"


def _log(trt: ModuleType) -> Any:
    class Log(trt.ILogger):  # type: ignore[name-defined, misc]
        """Keeps errors for ours."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.lines.append(message.strip())

    return Log()


def _monitor(trt: ModuleType, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined, misc]
        """Tells of the outermost phases."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            if parent is None:
                self.steps[name] = steps
                progress(name, 0, steps)

        def step_complete(self, name: str, step: int) -> bool:
            if name in self.steps:
                progress(name, step + 1, self.steps[name])
            return True  # go on

        def phase_finish(self, name: str) -> None:
            if name in self.steps:
                progress(name, self.steps[name], self.steps[name])

    return Monitor()
