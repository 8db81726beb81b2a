"""Builds plans with TensorRT or TensorRT for RTX, whose Python interfaces are alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from declip_rt.backends.trt.library import Said, library
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError, EngineError, Unavailable
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import INPUT

Progress = Callable[[str, int, int], None]  # phase, steps done, steps in all
LEVELS = {"ampere_plus": "AMPERE_PLUS", "same_capability": "SAME_COMPUTE_CAPABILITY"}


def build(
    bundle: Bundle,
    recipe: Recipe,
    targets: Sequence[str] = (),
    progress: Progress | None = None,
    timing: Path | None = None,
) -> bytes:
    """The plan of the bundle's graph, with an optimisation profile for each of the recipe's batches.

    targets: compute capabilities (sm89) that TensorRT for RTX builds for ahead of time; without any, the plan is for
    this machine's GPU. timing: a file with TensorRT's measurements of earlier builds. It is read and written again.

    Raises:
        BundleError: the bundle has no such graph.
        ConfigError: there are targets, but the library builds only for the GPU that it runs on.
        Unavailable: the library is missing, or knows no such target.
        EngineError: the library cannot parse or build the graph. The message has its words.
    """
    shapes = [{INPUT: (batch, *bundle.views.shape)} for batch in recipe.batches]
    return build_graph(bundle.graph(recipe.graph), recipe, shapes, targets, progress, timing)


def build_graph(
    graph: Path,
    recipe: Recipe,
    profiles: Sequence[Mapping[str, tuple[int, ...]]] = (),
    targets: Sequence[str] = (),
    progress: Progress | None = None,
    timing: Path | None = None,
) -> bytes:
    """The plan of any ONNX graph. profiles: for each optimisation profile, the shapes of the graph's inputs."""
    trt = library(recipe)
    said = Said(trt)
    builder = said.started(trt.Builder, f"{recipe.library} cannot start a builder")
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, said.log)
    if not parser.parse_from_file(str(graph)):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        why = " | ".join([*reasons, str(said)])
        raise EngineError(f"{recipe.library} {trt.__version__} cannot parse {graph}: {why}")
    config = _configure(trt, builder, recipe, profiles, targets)
    if progress is not None:
        config.progress_monitor = _monitor(trt, progress)
    if timing is not None and not targets:
        known = timing.read_bytes() if timing.exists() else b""
        cache = config.create_timing_cache(known) or config.create_timing_cache(b"")  # None where it is damaged
        config.set_timing_cache(cache, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"{recipe.library} {trt.__version__} cannot build {graph}: {said}")
    built = bytes(plan)
    if timing is not None and not targets:
        measured = bytes(config.get_timing_cache().serialize())
        write_whole(timing, measured, shared=True)  # another process may build for this GPU, too
    return built


def _configure(
    trt: ModuleType,
    builder: Any,
    recipe: Recipe,
    profiles: Sequence[Mapping[str, tuple[int, ...]]],
    targets: Sequence[str],
) -> Any:
    config = builder.create_builder_config()
    for shapes in profiles:
        profile = builder.create_optimization_profile()
        for name, shape in shapes.items():
            profile.set_shape(name, shape, shape, shape)
        config.add_optimization_profile(profile)
    if recipe.optimization_level is not None:
        config.builder_optimization_level = recipe.optimization_level
    if recipe.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, recipe.workspace_mb * 2**20)
    if recipe.max_aux_streams is not None:
        config.max_aux_streams = recipe.max_aux_streams
    # So that layers can be told apart. Plans of TensorRT for RTX are as large, and a CUDA graph marks no layers.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not recipe.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):  # of TensorRT for RTX, which needs it for CUDA graphs
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if recipe.hardware_compatible:
        level = LEVELS[str(recipe.hardware_compatible)]
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, level)
    if recipe.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)  # host code, which a plan may not bring
    if recipe.stripped:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
        config.set_flag(trt.BuilderFlag.REFIT_IDENTICAL)
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
            raise Unavailable(
                f"{recipe.library} knows no GPU called {target!r}; choose from {', '.join(sorted(known))}; "
                'TensorRT builds for others where they are: pip install "declip-rt[tensorrt]"'
            )
        config.set_compute_capability(known[target], i)


def _monitor(trt: ModuleType, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined, misc]
        """Reports the outermost phases."""

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
