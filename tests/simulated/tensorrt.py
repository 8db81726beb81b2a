"""A stand-in for TensorRT: a plan is an ONNX graph, and a kernel is ONNX Runtime on a stream of the simulated driver.

It has what the runtime uses, and nothing else; test_names.py finds each name in the real libraries.
"""

from __future__ import annotations

import ctypes
import enum
import gc
import hashlib
import json
import os
import weakref
from pathlib import Path

import numpy as np
import onnxruntime

__version__ = "11.0.0"
faults = set(
    os.environ.get("SIMULATED_FAULTS", "").split()
)  # what goes wrong: start, refuse, enqueue, nan, moved, short
built: list[IBuilderConfig] = []  # how plans were built
devices: list[int] = []  # that were current when a plan was built; -1 is none
loggers: list[ILogger] = []  # that were given
Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def current_device() -> int:
    found = ctypes.c_int()
    return found.value if ctypes.CDLL("libcuda.so.1").cuCtxGetDevice(ctypes.byref(found)) == 0 else -1


class ILogger:
    INTERNAL_ERROR, ERROR = 0, 1

    def log(self, severity: int, message: str) -> None: ...


class IProgressMonitor: ...


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 0


class BuilderFlag(enum.IntEnum):
    TF32, VERSION_COMPATIBLE, EXCLUDE_LEAN_RUNTIME, STRIP_PLAN, REFIT_IDENTICAL = range(5)


class HardwareCompatibilityLevel(enum.IntEnum):
    NONE, AMPERE_PLUS, SAME_COMPUTE_CAPABILITY = 0, 1, 2


class ProfilingVerbosity(enum.IntEnum):
    DETAILED = 2


class LayerInformationFormat(enum.IntEnum):
    JSON = 1


class IProfiler:
    def report_layer_time(self, layer_name: str, ms: float) -> None: ...


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class ExecutionContextAllocationStrategy(enum.IntEnum):
    USER_MANAGED = 2


class INetworkDefinition:
    graph: bytes


class IOptimizationProfile:
    def set_shape(self, name: str, least: tuple, best: tuple, most: tuple) -> None:
        assert least == best == most
        self.shape = best


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"measured "


class IBuilderConfig:
    hardware_compatibility_level = HardwareCompatibilityLevel.NONE
    max_aux_streams = -1  # TensorRT's choice
    profiling_verbosity: ProfilingVerbosity | None = None

    def __init__(self) -> None:
        self.profiles: list[IOptimizationProfile] = []
        self.flags = {BuilderFlag.TF32}  # as in the real ones
        self.cache = ITimingCache(b"")

    def add_optimization_profile(self, profile: IOptimizationProfile) -> None:
        self.profiles.append(profile)

    def set_flag(self, flag: enum.IntEnum) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: enum.IntEnum) -> None:
        self.flags.discard(flag)

    def create_timing_cache(self, content: bytes) -> ITimingCache | None:
        return ITimingCache(content) if content in (b"", b"measured ") else None

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> None:
        self.known, self.cache = cache.content, cache

    def get_timing_cache(self) -> ITimingCache:
        return self.cache


class Builder:
    def __init__(self, log: ILogger) -> None:
        loggers.append(log)
        if "start" in faults:
            log.log(ILogger.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int) -> INetworkDefinition:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes:
        built.append(config)
        devices.append(current_device())
        compatible, bare = BuilderFlag.VERSION_COMPATIBLE in config.flags, BuilderFlag.STRIP_PLAN in config.flags
        header = {
            "shapes": [profile.shape for profile in config.profiles],
            "version": __version__,
            "compatible": compatible,
            "host_code": compatible and BuilderFlag.EXCLUDE_LEAN_RUNTIME not in config.flags,
            "refits": hashlib.sha256(network.graph).hexdigest() if BuilderFlag.REFIT_IDENTICAL in config.flags else "",
        }
        return json.dumps(header).encode() + b"\n" + (b"" if bare else network.graph)


class OnnxParser:
    def __init__(self, network: INetworkDefinition, log: ILogger) -> None:
        self.network = network

    def parse_from_file(self, path: str) -> bool:
        self.network.graph = Path(path).read_bytes()
        return True


class Runtime:
    def __init__(self, log: ILogger) -> None:
        loggers.append(log)
        self.log, self.engine_host_code_allowed = log, False
        self._version, self._is_lean = __version__, False
        self._loader: weakref.ref[Runtime] | None = None

    def load_runtime(self, path: str) -> Runtime | None:
        """The stand-in for a lean runtime is a file that has its version."""
        if not Path(path).exists():
            self.log.log(ILogger.ERROR, f"Unable to load library: {path}")
            return None
        lean = type(self)(self.log)
        lean._version, lean._is_lean, lean._loader = Path(path).read_text(), True, weakref.ref(self)
        return lean

    def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
        assert not self.engine_host_code_allowed
        header = json.loads(plan.split(b"\n", 1)[0])
        if "refuse" in faults:
            return self._refuse("the driver is too old for this plan")
        if header["host_code"]:
            return self._refuse("IRuntime::getEngineHostCodeAllowed() is false")
        if header["version"] != self._version or (self._is_lean and not header["compatible"]):
            return self._refuse(f"not compatible, expecting library version {header['version']} got {self._version}")
        return self._engine()(plan, self)

    def _refuse(self, why: str) -> None:
        self.log.log(ILogger.ERROR, why)

    def _engine(self) -> type[ICudaEngine]:
        return ICudaEngine


class EngineInspector:
    """Tells as TensorRT 11 does."""

    execution_context: IExecutionContext

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        assert format == LayerInformationFormat.JSON
        stem, head = self.execution_context._layers()
        gives = {"Name": "scores", "Dimensions": [1, 2], "Format": "LINEAR", "Datatype": "FP16"}
        detailed = {"Name": head, "LayerType": "gemm", "Outputs": [gives], "TacticName": "sm89_xmma_gemm"}
        return json.dumps({"Layers": [stem, detailed], "I/O Tensors": []})


class ICudaEngine:
    device_memory_size_v2 = 1 << 20

    def __init__(self, plan: bytes, runtime: Runtime) -> None:
        header, graph = plan.split(b"\n", 1)
        self._header, self._runtime = json.loads(header), runtime  # as in the real one, the engine keeps the runtime
        self.shapes = [tuple(shape) for shape in self._header["shapes"]]
        if graph:
            self._load(graph)

    def _load(self, graph: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        tensors = [*self.session.get_inputs(), *self.session.get_outputs()]
        shape = next(each.shape for each in tensors if each.name == name)
        return (-1, *shape[1:])

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector()

    def create_execution_context(self, strategy: ExecutionContextAllocationStrategy) -> IExecutionContext | None:
        assert hasattr(self, "session"), "a stripped plan that was not refitted computes garbage"
        if "short" in faults:
            faults.remove("short")  # a smaller batch fits
            loggers[-1].log(ILogger.ERROR, "Error Code 1: Cuda Runtime (out of memory)")
            return None
        return IExecutionContext(self)


class Refitter:
    def __init__(self, engine: ICudaEngine, log: ILogger) -> None:
        self._engine, self._log = engine, log
        self._graph = b""
        if not engine._header["refits"]:
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def refit_cuda_engine(self) -> bool:
        if self._graph:
            self._engine._load(self._graph)
        return bool(self._graph)


class OnnxParserRefitter:
    num_errors = 0

    def __init__(self, refitter: Refitter, log: ILogger) -> None:
        self._refitter = refitter

    def refit_from_file(self, path: str) -> bool:
        """The real one does not see that weights are others; this one does."""
        graph = Path(path).read_bytes()
        if hashlib.sha256(graph).hexdigest() != self._refitter._engine._header["refits"]:
            self._refitter._log.log(ILogger.ERROR, "these are other weights")
            return False
        self._refitter._graph = graph
        return True


class IExecutionContext:
    profiler: IProfiler | None = None

    def __init__(self, engine: ICudaEngine) -> None:
        self.engine, self.memory, self.addresses = engine, 0, dict[str, int]()
        self.shape: tuple[int, ...] = ()
        self.profile: tuple[int, ...] = ()
        self.callback = Callback(self._compute)
        self.driver = ctypes.CDLL("libcuda.so.1")

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.profile = self.engine.shapes[index]
        return True

    def set_device_memory(self, pointer: int, size: int) -> None:
        assert size >= self.engine.device_memory_size_v2
        self.memory = pointer

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return name == "pixels" and shape == self.profile

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return address % 256 == 0

    def execute_async_v3(self, stream: int) -> bool:
        assert self.memory
        loader = self.engine._runtime._loader
        assert loader is None or loader() is not None, "the runtime that loaded the lean one is gone"
        assert len(self.addresses) == len(self.engine.session.get_inputs()) + len(self.engine.session.get_outputs())
        queued = self.driver.cuLaunchHostFunc(ctypes.c_void_p(stream), self.callback, None)
        if self.profiler is not None:
            self.driver.cuStreamSynchronize(ctypes.c_void_p(stream))  # which a graph cannot hold
            for layer, ms in zip(self._layers(), (0.5, 1.5), strict=True):
                self.profiler.report_layer_time(layer, ms)
        return queued == 0 and "enqueue" not in faults

    def _layers(self) -> tuple[str, str]:
        """Each profile has layers of its own."""
        profile = self.engine.shapes.index(self.shape)
        return f"stem [profile {profile}]", f"head [profile {profile}]"

    def _compute(self, _: object) -> None:
        gc.disable()  # which could free what a stream uses, and wait for the stream, in the stream's own thread
        try:
            self._computed()
        finally:
            gc.enable()

    def _computed(self) -> None:
        if "pixels" not in self.addresses:
            return  # a large product of matrices, of which only the time is wanted
        names = ["scores", "perceptual", "semantic"]
        outputs = self.engine.session.run(names, {"pixels": self._at("pixels", self.shape, np.uint8).copy()})
        for name, values in zip(names, outputs, strict=True):
            self._at(name, values.shape, np.float32)[...] = values
        if "nan" in faults:
            self._at("perceptual", outputs[1].shape, np.float32)[0, 0] = np.nan
        if "moved" in faults:
            self._at("scores", outputs[0].shape, np.float32)[0, 0] += 0.02

    def _at(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = (ctypes.c_uint8 * size).from_address(self.addresses[name])
        return np.frombuffer(memory, dtype).reshape(shape)
