"""Plain ONNX Runtime, as a rival of declip-rt."""

from __future__ import annotations

import importlib.util

import numpy as np

from declip_rt.backends.contract import Engine
from declip_rt.backends.onnxrt.session import (
    has_cuda,
    open_cuda_session,
    open_session,
    runtime_module,
    session_options,
)
from declip_rt.bench.rivals import HostLane, Rival, Task
from declip_rt.errors import ConfigError, EngineError
from declip_rt.model.manifest import INPUT, OUTPUTS


class Ort:
    """Opens an InferenceSession of the bundle's graph of the task's precision."""

    def check(self) -> None:
        """Raises ConfigError."""
        if importlib.util.find_spec("onnxruntime") is None:
            raise ConfigError("--against ort needs onnxruntime, which is not installed; or leave ort out")

    def open(self, task: Task) -> Engine:
        """Raises EngineError."""
        runtime, on_gpu = runtime_module(), task.where != "cpu"
        if on_gpu and not has_cuda():
            raise EngineError(f'onnxruntime {runtime.__version__} has no CUDA provider: pip install "declip-rt[cuda]"')
        precision = {"bf16": "fp32", "fp8": "fp16"}.get(task.precision, task.precision)  # it has none of its own
        graph, options = task.bundle.graph(precision), session_options(precision, task.threads)
        session = open_cuda_session(graph, options, task.device.index) if on_gpu else open_session(graph, options)
        lane = HostLane(np.zeros(task.shape, np.uint8), lambda pixels: session.run(OUTPUTS, {INPUT: pixels}))
        return Rival(task, f"plain ONNX Runtime {runtime.__version__}", precision, [lane])
