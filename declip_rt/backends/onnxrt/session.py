"""onnxruntime, imported and opened in one place."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from declip_rt.errors import EngineError, Unavailable


def runtime_module() -> ModuleType:
    """onnxruntime. Raises Unavailable where it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise Unavailable(
            'no inference engine is installed; for the CPU: pip install "declip-rt[cpu]", '
            'for an NVIDIA GPU: pip install "declip-rt[cuda]"'
        ) from error
    module: ModuleType = onnxruntime
    return module


def open_session(runtime: ModuleType, graph: Path, options: Any, providers: list[Any]) -> Any:
    """An InferenceSession. Raises EngineError."""
    options.log_severity_level = 3  # a provider that did not load is reported by us
    try:
        return runtime.InferenceSession(str(graph), options, providers=providers)
    except Exception as error:
        raise EngineError(f"ONNX Runtime {runtime.__version__} cannot load {graph}: {error}") from error
