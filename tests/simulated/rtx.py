"""The stand-in for TensorRT for RTX: it builds for compute capabilities, and compiles kernels for each new shape."""

from __future__ import annotations

import enum

import tensorrt
from tensorrt import (  # noqa: F401
    ExecutionContextAllocationStrategy,
    HardwareCompatibilityLevel,
    ILogger,
    INetworkDefinition,
    IOptimizationProfile,
    IProfiler,
    IProgressMonitor,
    LayerInformationFormat,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    OnnxParser,
    ProfilingVerbosity,
)

__version__ = "1.7.0"
driver = b"580"  # that kernels are compiled for
compiled: list[bytes] = []  # kernels, in their order


class BuilderFlag(enum.IntEnum):
    TF32, REQUIRE_USER_ALLOCATION = 0, 5  # beside those of TensorRT


class ComputeCapability(enum.IntEnum):
    SM89 = 0


class DynamicShapesKernelSpecializationStrategy(enum.IntEnum):
    EAGER = 1


class IRuntimeCache:
    def __init__(self) -> None:
        self.kernels: list[bytes] = []

    def deserialize(self, blob: bytes) -> bool:
        made_for, *kernels = blob.split(b"|")
        if made_for == driver:
            self.kernels = kernels
        return made_for == driver

    def serialize(self) -> bytes:
        return b"|".join([driver, *self.kernels])


class IRuntimeConfig:
    dynamic_shapes_kernel_specialization_strategy: DynamicShapesKernelSpecializationStrategy

    def set_execution_context_allocation_strategy(self, strategy: ExecutionContextAllocationStrategy) -> None:
        assert strategy == ExecutionContextAllocationStrategy.USER_MANAGED

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self.cache = cache
        return True


class IBuilderConfig(tensorrt.IBuilderConfig):
    num_compute_capabilities = 0

    def set_compute_capability(self, capability: ComputeCapability, index: int) -> bool:
        return index < self.num_compute_capabilities


class Builder(tensorrt.Builder):
    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()


class IExecutionContext(tensorrt.IExecutionContext):
    def __init__(self, engine: ICudaEngine, config: IRuntimeConfig) -> None:
        super().__init__(engine)
        self.cache = config.cache

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        kernel = str(shape).encode()
        if kernel not in self.cache.kernels:
            self.cache.kernels.append(kernel)
            compiled.append(kernel)
        return super().set_input_shape(name, shape)

    def is_stream_capturable(self, stream: int) -> bool:
        return True


class ICudaEngine(tensorrt.ICudaEngine):
    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    def create_execution_context(self, config: IRuntimeConfig) -> IExecutionContext:  # type: ignore[override]
        return IExecutionContext(self, config)


class Runtime(tensorrt.Runtime):
    def _engine(self) -> type[ICudaEngine]:
        return ICudaEngine
