"""Imports ONNX Runtime, and sets up and opens its sessions."""

from __future__ import annotations

import sys
import threading
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from declip_rt.backends import forks
from declip_rt.errors import EngineError
from declip_rt.extras import load
from declip_rt.model.manifest import INPUT, OUTPUTS

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
FIRST_RUN = 600  # seconds that the first batch may take


def runtime_module() -> ModuleType:
    """onnxruntime. Raises Unavailable where it is not installed."""
    return load("onnxruntime")


def has_cuda() -> bool:
    """Whether ONNX Runtime is installed with its CUDA provider."""
    try:
        return CUDA in runtime_module().get_available_providers()
    except ImportError:
        return False


def session_options(precision: str, threads: int | None = None) -> Any:
    """SessionOptions for a graph of this precision. threads: for one run; None is ONNX Runtime's default."""
    runtime = runtime_module()
    options = runtime.SessionOptions()
    levels = runtime.GraphOptimizationLevel
    # ONNX Runtime 1.32 crashes on FP16 graphs at a higher level.
    options.graph_optimization_level = levels.ORT_ENABLE_BASIC if precision == "fp16" else levels.ORT_ENABLE_ALL
    options.log_severity_level = 3  # we report a provider that did not load
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def open_session(graph: Path | bytes, options: Any, provider: Any = CPU) -> Any:
    """An InferenceSession of a graph, in a file or in memory. Raises EngineError, Unavailable."""
    runtime = runtime_module()
    try:
        session = runtime.InferenceSession(
            graph if isinstance(graph, bytes) else str(graph), options, providers=[provider]
        )
    except Exception as error:  # onnxruntime's exceptions share no base class
        what = "a graph" if isinstance(graph, bytes) else graph
        raise EngineError(f"ONNX Runtime {runtime.__version__} cannot load {what}: {error}") from error
    forks.never_free_in_a_child(session)
    return session


def check_names(inputs: list[str], outputs: list[str], graph: Path) -> None:
    """Raises EngineError where a graph has other inputs or outputs than those of a model."""
    if inputs != [INPUT] or not {*OUTPUTS} <= {*outputs}:
        raise EngineError(
            f"{graph} has the inputs {inputs} and the outputs {outputs}, not {[INPUT]} and {[*OUTPUTS]}; "
            "export the bundle again"
        )


def run_first(session: Any, pixels: Any) -> list[Any]:
    """The outputs of a graph that nobody has seen come to an end. Raises EngineError after FIRST_RUN seconds."""
    options = runtime_module().RunOptions()
    late = threading.Event()

    def stop() -> None:
        late.set()
        options.terminate = True

    timer = threading.Timer(FIRST_RUN, stop)
    timer.daemon = True
    timer.start()
    try:
        found: list[Any] = session.run(OUTPUTS, {INPUT: pixels}, options)
    except Exception as error:
        if late.is_set():
            raise EngineError(f"the graph ran for {FIRST_RUN} s without an end; do you trust this bundle?") from error
        raise
    finally:
        timer.cancel()
    return found


@cache
def load_cuda() -> None:
    """Loads CUDA and cuDNN from where pip puts them, which the provider does not search."""
    preload = getattr(runtime_module(), "preload_dlls", None)
    if preload is not None:
        with redirect_stdout(sys.stderr):  # it prints what it does not find
            preload()


def open_cuda_session(graph: Path | bytes, options: Any, index: int, **more: str) -> Any:
    """An InferenceSession on the GPU `index`, in whole FP32. more: options of the provider. Raises EngineError."""
    load_cuda()
    # With the 10 bits of TF32, a variance that is a difference comes out wrong.
    session = open_session(graph, options, (CUDA, {"device_id": index, "use_tf32": "0", **more}))
    if CUDA not in session.get_providers():
        raise EngineError(
            f"ONNX Runtime could not open cuda:{index}; check that nvidia-smi lists it, and that CUDA and cuDNN match "
            'onnxruntime-gpu: pip install "declip-rt[cuda]" brings those that do'
        )
    return session
