"""ONNX Runtime on a GPU, behind the same lanes as TensorRT."""

from __future__ import annotations

from typing import Any

import numpy as np

from declip_rt.backends.contract import EngineInfo, EngineOptions
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.engine import LANES, GpuEngine
from declip_rt.backends.cuda.lane import Buffers
from declip_rt.backends.onnxrt import session
from declip_rt.backends.onnxrt.session import has_cuda, runtime_module
from declip_rt.errors import EngineError, Unavailable
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import INPUT, OUTPUTS
from declip_rt.stats import Stats


def open_session(bundle: Bundle, options: EngineOptions, stats: Stats) -> GpuEngine:
    """An engine that runs the bundle's FP32 graph (auto) or its FP16 graph. The caller has to prove the FP16 one.

    Raises:
        Unavailable: ONNX Runtime has no CUDA.
        EngineError: the device is missing or fails, or the precision is not for GPUs.
    """
    runtime = runtime_module()
    if not has_cuda():
        raise Unavailable(
            f"onnxruntime {runtime.__version__} has no CUDA provider: "
            'pip uninstall onnxruntime, then pip install "declip-rt[cuda]"'
        )
    if options.precision in ("bf16", "int8"):
        raise EngineError(f'{options.precision} is for CPUs; choose `device="auto"`, or leave `precision` out')
    precision = "fp16" if options.precision == "fp16" else "fp32"
    context = Context(options.on.index)
    network = OnnxNetwork(bundle, precision, options.batch)
    name = f"ONNX Runtime {runtime.__version__}"
    info = EngineInfo("cuda", context.index, name, precision, options.batch, options.lanes or LANES)
    return GpuEngine(context, network, bundle.views, info, stats)


class OnnxNetwork:
    """One of the bundle's graphs. Each lane opens a session of it on its own stream."""

    def __init__(self, bundle: Bundle, precision: str, batch: int) -> None:
        self.graph, self.precision, self.shape = bundle.graph(precision), precision, bundle.views.shape
        self.buckets = sorted({1, batch})
        features = bundle.manifest.features
        self.widths = {"scores": len(bundle.heads), "perceptual": features, "semantic": features}

    def bind(self, buffers: Buffers) -> OnnxProgram:
        return OnnxProgram(self, buffers)


class OnnxProgram:
    """Sessions that read and write a lane's memory, and run on the lane's stream.

    Each bucket has its own: whenever the batch changes, ONNX Runtime sets its convolutions up again, for a second or
    more.
    """

    def __init__(self, network: OnnxNetwork, buffers: Buffers) -> None:
        self._sessions = {bucket: _open(network, buffers) for bucket in buffers.buckets}
        self._bindings = {bucket: self._bind(network, buffers, bucket) for bucket in buffers.buckets}

    def _bind(self, network: OnnxNetwork, buffers: Buffers, bucket: int) -> Any:
        binding, index = self._sessions[bucket].io_binding(), buffers.context.index
        binding.bind_input(INPUT, "cuda", index, np.uint8, (bucket, *network.shape), buffers.pixels)
        for name in OUTPUTS:
            shape = (bucket, network.widths[name])
            binding.bind_output(name, "cuda", index, np.float32, shape, buffers.outputs[name])
        return binding

    def enqueue(self, bucket: int, stream: int) -> None:
        """Computes, and waits: ONNX Runtime frees a run's pinned memory only where it waits for the run."""
        self._sessions[bucket].run_with_iobinding(self._bindings[bucket])

    def can_be_captured(self, bucket: int, stream: int) -> bool:
        return False  # ONNX Runtime allocates as it runs

    def close(self) -> None:
        """Frees the sessions before the lane frees their stream."""
        self._bindings.clear()
        self._sessions.clear()


def _open(network: OnnxNetwork, buffers: Buffers) -> Any:
    return session.open_cuda_session(
        network.graph,
        session.session_options(network.precision),
        buffers.context.index,
        user_compute_stream=str(int(buffers.stream.handle)),
        cudnn_conv_algo_search="HEURISTIC",  # the exhaustive search takes a second for each session
    )
