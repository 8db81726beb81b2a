"""ONNX Runtime on a GPU, behind the same lanes as TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.engine import GpuEngine
from declip_rt.backends.cuda.lane import Buffers
from declip_rt.backends.onnxrt.session import open_session, runtime_module
from declip_rt.errors import EngineError, Unavailable
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import INPUT, OUTPUTS
from declip_rt.stats import Stats

CUDA = "CUDAExecutionProvider"


class OnnxCudaEngine(GpuEngine):
    """Runs the bundle's FP32 graph (auto), or its FP16 one.

    Raises:
        EngineError: ONNX Runtime has no CUDA, or the device is missing.
    """

    def __init__(
        self,
        bundle: Bundle,
        index: int,
        batch: int,
        precision: str,
        lanes: int | None,
        stats: Stats,
        say: Callable[[str], None],
    ) -> None:
        runtime = runtime_module()
        if not has_cuda():
            raise Unavailable(
                f"onnxruntime {runtime.__version__} has no CUDA provider: "
                'pip uninstall onnxruntime, then pip install "declip-rt[cuda]"'
            )
        if precision == "int8":
            raise EngineError("int8 graphs are for CPUs; choose --device cpu, or --precision auto")
        self.precision = "fp16" if precision == "fp16" else "fp32"
        self.device = f"cuda:{index} (ONNX Runtime {runtime.__version__}, {self.precision})"
        context = Context(index)
        network = OnnxNetwork(runtime, bundle, self.precision, batch)
        super().__init__(context, network, bundle, batch, lanes, stats, say)


class OnnxNetwork:
    """One of the bundle's graphs, of which each lane opens a session on its own stream."""

    def __init__(self, runtime: ModuleType, bundle: Bundle, precision: str, batch: int) -> None:
        self.runtime, self.graph, self.shape = runtime, bundle.graph(precision), bundle.views.shape
        self.buckets = sorted({1, batch})
        features = bundle.manifest.features
        self.widths = {"scores": len(bundle.heads), "perceptual": features, "semantic": features}

    def bind(self, buffers: Buffers) -> OnnxProgram:
        return OnnxProgram(self, buffers)


class OnnxProgram:
    """A session whose inputs and outputs are a lane's memory, and whose kernels go to its stream."""

    def __init__(self, network: OnnxNetwork, buffers: Buffers) -> None:
        runtime, index = network.runtime, buffers.context.index
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC  # safe for FP16 graphs
        if network.graph.name.startswith("fp32"):
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        on_stream = {"device_id": index, "user_compute_stream": str(int(buffers.stream.handle))}
        self._session = open_session(runtime, network.graph, options, [(CUDA, on_stream)])
        if CUDA not in self._session.get_providers():
            raise EngineError(
                f"ONNX Runtime could not open cuda:{index}; check that nvidia-smi lists it, "
                "and that CUDA and cuDNN match onnxruntime-gpu"
            )
        self._options = runtime.RunOptions()
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")  # the lane waits
        self._bindings = {bucket: self._bound(network, buffers, bucket) for bucket in buffers.buckets}

    def _bound(self, network: OnnxNetwork, buffers: Buffers, bucket: int) -> Any:
        binding, index = self._session.io_binding(), buffers.context.index
        binding.bind_input(INPUT, "cuda", index, np.uint8, (bucket, *network.shape), buffers.pixels)
        for name in OUTPUTS:
            shape = (bucket, network.widths[name])
            binding.bind_output(name, "cuda", index, np.float32, shape, buffers.outputs[name])
        return binding

    def enqueue(self, bucket: int, stream: int) -> None:
        self._session.run_with_iobinding(self._bindings[bucket], self._options)

    def can_be_captured(self, bucket: int, stream: int) -> bool:
        return False  # ONNX Runtime allocates as it runs

    def close(self) -> None:
        self._bindings.clear()


def has_cuda() -> bool:
    """Whether the onnxruntime that is installed was built with CUDA."""
    return CUDA in runtime_module().get_available_providers()
