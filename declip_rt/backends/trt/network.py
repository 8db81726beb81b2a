"""A TensorRT plan, loaded on a GPU."""

from __future__ import annotations

import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

from declip_rt.backends.cuda.lane import Buffers
from declip_rt.backends.trt import lean
from declip_rt.backends.trt.layers import LayerWatch
from declip_rt.backends.trt.library import Said, library
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.errors import EngineError
from declip_rt.model.manifest import INPUT, OUTPUTS


class TensorRtNetwork:
    """A plan that has a profile for each of its recipe's batches.

    plan: its hash must have been checked. version: of the library that built it. graph: the ONNX file that it was
    built from, where its recipe strips it. kernels: what `compiled` returned before. `fits` tells whether they are for
    this GPU and driver. watch: is told how long each layer takes; batches then go without CUDA graphs.

    Raises:
        EngineError: the library is missing or refuses the plan. The message has its words.
    """

    def __init__(
        self,
        plan: bytes,
        recipe: Recipe,
        version: str,
        graph: Path,
        kernels: bytes = b"",
        watch: LayerWatch | None = None,
    ) -> None:
        self.watch = watch
        self.trt, _, self._runtime, self.engine = load_plan(plan, recipe, version)
        if recipe.stripped:
            _refit(self.trt, self.engine, graph)
        self.cache = kernel_cache(self.trt, self.engine)
        self.fits = self.cache is None or (bool(kernels) and bool(self.cache.deserialize(kernels)))
        self.profiles = {batch: profile for profile, batch in enumerate(recipe.batches)}
        self.buckets = sorted(self.profiles)
        self.widths = {name: int(self.engine.get_tensor_shape(name)[-1]) for name in OUTPUTS}

    def bind(self, buffers: Buffers) -> TensorRtProgram:
        return TensorRtProgram(self, buffers)

    def compiled(self) -> bytes:
        """The kernels that TensorRT for RTX has compiled for all programs. Empty with TensorRT."""
        return b"" if self.cache is None else bytes(self.cache.serialize() or b"")


class TensorRtProgram:
    """An execution context for each bucket. They share their scratch memory, as one lane runs one of them at a time."""

    def __init__(self, network: TensorRtNetwork, buffers: Buffers) -> None:
        self._network: TensorRtNetwork | None = network  # it and its engine must outlive the contexts
        self._trt, self._said, engine = network.trt, Said(network.trt), network.engine
        self._scratch = buffers.context.memory(max(engine.device_memory_size_v2, 1), buffers.stream)
        self._is_watched = network.watch is not None
        shape = tuple(engine.get_tensor_shape(INPUT))[1:]
        self._contexts = {}
        for bucket in buffers.buckets:
            profile = network.profiles[bucket]
            context = self._check(execution_context(network.trt, engine, network.cache), "no execution context")
            handle = int(buffers.stream.handle)
            self._check(context.set_optimization_profile_async(profile, handle), f"no profile {profile}")
            context.set_device_memory(int(self._scratch.handle), self._scratch.size)
            self._check(context.set_input_shape(INPUT, (bucket, *shape)), f"no batch of {bucket}")
            for name, address in {INPUT: buffers.pixels, **buffers.outputs[bucket]}.items():
                self._check(context.set_tensor_address(name, address), f"no tensor {name}")
            if network.watch is not None:
                network.watch.attach(network.trt, engine, context)
            self._contexts[bucket] = context
        buffers.stream.sync()

    def enqueue(self, bucket: int, stream: int) -> None:
        self._said = Said(self._trt)
        self._check(self._contexts[bucket].execute_async_v3(stream), f"cannot compute a batch of {bucket}")

    def can_be_captured(self, bucket: int, stream: int) -> bool:
        if self._is_watched:
            return False
        asked = getattr(self._contexts[bucket], "is_stream_capturable", None)  # only TensorRT for RTX has it
        return asked is None or bool(asked(stream))

    def close(self) -> None:
        self._contexts.clear()
        self._scratch.close()
        self._network = None  # the last program frees the engine, while its GPU is current

    def _check(self, thing: Any, what: str) -> Any:
        if not thing:
            raise EngineError(f"{what}: {self._said}")
        return thing


def load_plan(plan: bytes, recipe: Recipe, version: str = "") -> tuple[ModuleType, Any, Any, Any]:
    """The recipe's library, what it says, a runtime and the plan's engine. The runtime must outlive the engine.

    version: of the library that built the plan; empty where that is the installed one.
    """
    trt = library(recipe)
    said = Said(trt)
    runtime = said.started(trt.Runtime, f"{recipe.library} cannot start")
    if version not in ("", trt.__version__):
        runtime = _lean_runtime(runtime, version, said)
    runtime.engine_host_code_allowed = False  # a plan is data, and brings no code
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(
            f"{recipe.library} {trt.__version__} refuses the plan: {said}; "
            "see the driver's version by nvidia-smi, or build it again: declip-rt plans clear"
        )
    return trt, said, runtime, engine


def _lean_runtime(runtime: Any, version: str, said: Said) -> Any:
    """The lean runtime of a version, which a runtime of a later one loads."""
    path = lean.find_library(version)
    loaded = path and runtime.load_runtime(str(path))
    if not loaded:
        raise EngineError(
            f"cannot load the lean runtime of TensorRT {version}: {said}; "
            f"{lean.remedy(version)}, or build the plan again: declip-rt plans clear"
        )
    weakref.finalize(loaded, lambda _: None, runtime).atexit = False  # what has loaded it must outlive it
    return loaded


def _refit(trt: ModuleType, engine: Any, graph: Path) -> None:
    """Gives a stripped plan its weights. They must be those that it was built with."""
    said = Said(trt)
    refitter = trt.Refitter(engine, said.log)
    parser = trt.OnnxParserRefitter(refitter, said.log)
    if not (parser.refit_from_file(str(graph)) and refitter.refit_cuda_engine()):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise EngineError(f"TensorRT cannot take the weights of {graph}: {' | '.join([*reasons, str(said)])}")


def kernel_cache(trt: ModuleType, engine: Any) -> Any:
    """An empty trt.IRuntimeCache. TensorRT for RTX keeps there what it compiles for this GPU. None for TensorRT."""
    return engine.create_runtime_config().create_runtime_cache() if _compiles(trt) else None


def execution_context(trt: ModuleType, engine: Any, cache: Any) -> Any:
    """A context with scratch memory of ours. EAGER keeps TensorRT for RTX from running slow kernels first."""
    strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    if not _compiles(trt):
        return engine.create_execution_context(strategy)
    config = engine.create_runtime_config()
    config.set_execution_context_allocation_strategy(strategy)
    config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
    config.set_runtime_cache(cache)
    return engine.create_execution_context(config)


def _compiles(trt: ModuleType) -> bool:
    """Whether the library is TensorRT for RTX."""
    return hasattr(trt, "DynamicShapesKernelSpecializationStrategy")
