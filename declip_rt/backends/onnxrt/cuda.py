"""ONNX Runtime on a GPU, behind the same lanes as TensorRT."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from declip_rt.backends.contract import EngineInfo, EngineOptions
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.engine import GpuEngine
from declip_rt.backends.cuda.lane import Buffers
from declip_rt.backends.onnxrt import session
from declip_rt.backends.onnxrt.session import has_cuda, runtime_module
from declip_rt.errors import EngineError, Unavailable
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import INPUT, OUTPUTS
from declip_rt.stats import Stats

LANES = 2  # the default: each holds the weights for each of its batch sizes
FATAL = 4  # of ONNX Runtime's levels of its log
logger = logging.getLogger(__name__)


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
    if options.precision == "fp8":
        raise EngineError('fp8 graphs are for TensorRT; choose `device="tensorrt"`, or leave `precision` out')
    if options.precision in ("bf16", "int8"):
        raise EngineError(f'{options.precision} is for CPUs; choose `device="auto"`, or leave `precision` out')
    precision = "fp16" if options.precision == "fp16" else "fp32"
    context = Context(options.on.index)
    network = OnnxNetwork(bundle, precision, options.gpu_batch)
    name = f"ONNX Runtime {runtime.__version__}"
    info = EngineInfo("cuda", context.index, name, precision, options.gpu_batch, options.lanes or LANES)
    return GpuEngine(context, network, bundle.views, info, stats)


class OnnxNetwork:
    """One of the bundle's graphs. Each lane opens a session of it on its own stream."""

    def __init__(self, bundle: Bundle, precision: str, batch: int) -> None:
        self.graph, self.precision, self.shape = bundle.graph(precision), precision, bundle.views.shape
        self.buckets = sorted({1, max(1, batch // 4), batch})
        features = bundle.manifest.features
        self.widths = {"scores": len(bundle.heads), "perceptual": features, "semantic": features}

    def bind(self, buffers: Buffers) -> OnnxProgram:
        return OnnxProgram(self, buffers)


class OnnxProgram:
    """A session for each bucket, which reads and writes a lane's memory and runs on the lane's stream.

    Buckets do not share one: when the batch changes, ONNX Runtime sets its convolutions up again. That takes a second
    or more, and frees the kernels that a CUDA graph of the other batch holds.
    """

    def __init__(self, network: OnnxNetwork, buffers: Buffers) -> None:
        self._runs = {bucket: _Run.recordable(network, buffers, bucket) for bucket in buffers.buckets}

    def enqueue(self, bucket: int, stream: int) -> None:
        self._runs[bucket]()

    def can_be_captured(self, bucket: int, stream: int) -> bool:
        return self._runs[bucket].only_queues

    def close(self) -> None:
        """Frees the sessions before the lane frees their stream."""
        self._runs.clear()


class _Run:
    """A session, bound to the first `bucket` images of a lane.

    only_queues: it waits for nothing, so that the lane can capture it as a CUDA graph. ONNX Runtime then takes no graph
    that has nodes on the CPU. Its own graphs are not used: they belong to the thread that made them, and it waits for
    each.
    """

    def __init__(self, network: OnnxNetwork, buffers: Buffers, bucket: int, only_queues: bool) -> None:
        self.only_queues, index = only_queues, buffers.context.index
        settings = session.session_options(network.precision)
        if only_queues:
            settings.log_severity_level = FATAL  # we report what it refuses
        self.session = session.open_cuda_session(
            network.graph,
            settings,
            index,
            user_compute_stream=str(int(buffers.stream.handle)),
            cudnn_conv_algo_search="HEURISTIC",  # the exhaustive search takes a second for each session
            arena_extend_strategy="kSameAsRequested",  # not up to twice as much
            enable_cuda_graph=str(int(only_queues)),
        )
        self._options = runtime_module().RunOptions()
        if only_queues:  # else it has to wait, as only then it frees the pinned memory that a run took
            self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
            self._options.add_run_config_entry("gpu_graph_id", "-1")  # none of its own
        self._binding = self.session.io_binding()
        self._binding.bind_input(INPUT, "cuda", index, np.uint8, (bucket, *network.shape), buffers.pixels)
        for name in OUTPUTS:
            shape = (bucket, network.widths[name])
            self._binding.bind_output(name, "cuda", index, np.float32, shape, buffers.outputs[bucket][name])

    @classmethod
    def recordable(cls, network: OnnxNetwork, buffers: Buffers, bucket: int) -> _Run:
        """A run that only queues, if the graph can be captured so; else one that waits, and the log says why."""
        try:
            return cls(network, buffers, bucket, only_queues=True)._tried(buffers.stream)
        except Exception as error:  # onnxruntime's exceptions share no base class
            logger.info("batches of %d run without a CUDA graph: %s", bucket, error)
        return cls(network, buffers, bucket, only_queues=False)

    def __call__(self) -> None:
        self.session.run_with_iobinding(self._binding, self._options)

    def _tried(self, stream: Any) -> _Run:
        """Itself, after a capture that is thrown away. Raises what that raises."""
        self()
        self()  # in its second run, too, ONNX Runtime takes memory
        stream.sync()
        builder = stream.create_graph_builder().begin_building()
        try:
            self()
            builder.end_building()
        finally:
            builder.close()
        return self
