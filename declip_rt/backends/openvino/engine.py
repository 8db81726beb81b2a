"""OpenVINO: a second engine for CPUs, in FP32, bf16 or INT8."""

from __future__ import annotations

import threading
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends import forks
from declip_rt.backends.contract import EngineInfo, EngineOptions, Floats
from declip_rt.backends.host import SPARE_LANES, HostEngine, share
from declip_rt.backends.instructions import gains_from_bf16, has_vnni, multiplies_8_bits
from declip_rt.backends.onnxrt.session import FIRST_RUN, check_names
from declip_rt.errors import EngineError
from declip_rt.extras import load
from declip_rt.model import onnx_file
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import OUTPUTS
from declip_rt.stats import Stats

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # of what is not in 8 bits


def open_compiled(bundle: Bundle, options: EngineOptions, stats: Stats, fallback: str | None = None) -> HostEngine:
    """One of the bundle's graphs, compiled for a device of OpenVINO. bf16 is the FP32 graph, computed otherwise.

    fallback: why the CPU computes where a GPU was asked for.

    Raises:
        EngineError: OpenVINO lacks the device, the device lacks the precision, or the graph cannot be compiled.
        Unavailable: OpenVINO is not installed.
        BundleError: the bundle has no graph of this precision.
    """
    unit, core, (at_once, threads) = options.on.unit or "CPU", _core(), share(options)
    if unit not in (found := core.available_devices):
        raise EngineError(f"OpenVINO finds no {unit} here; it has: {', '.join(found) or 'none'}")
    precision = choose_precision(core, unit, options.precision, bundle)
    settings = {"INFERENCE_PRECISION_HINT": HINTS[precision], "NUM_STREAMS": at_once}
    if unit == "CPU":  # its cores are shared with the decoders
        settings |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
    graph = bundle.graph("fp32" if precision == "bf16" else precision)
    try:
        compiled = core.compile_model(core.read_model(graph), unit, settings)
    except Exception as error:  # OpenVINO's exceptions share no base class
        raise EngineError(f"OpenVINO cannot compile {graph} for {unit}: {error}") from error
    forks.never_free_in_a_child(compiled)
    inputs, outputs = ([each.any_name for each in some] for some in (compiled.inputs, compiled.outputs))
    check_names(inputs, outputs, graph)
    name = f"OpenVINO {load('openvino').__version__.partition('-')[0]}, {unit}"
    info = EngineInfo("openvino", None, name, precision, options.batch, at_once + SPARE_LANES, fallback)
    return HostEngine(_Compute(compiled), bundle, info, at_once, stats, "OpenVINO")


def choose_precision(core: Any, unit: str, wanted: str, bundle: Bundle) -> str:
    """auto is the fastest that is proven. Raises EngineError where the device cannot compute what is wanted."""
    if wanted == "auto":
        return (fastest(bundle) if unit == "CPU" else None) or "fp32"
    if wanted in ("fp16", "fp8"):
        raise EngineError(f'OpenVINO computes fp32, bf16 and int8 here, not {wanted}: leave `precision="{wanted}"` out')
    if wanted == "bf16" and "BF16" not in core.get_property(unit, "OPTIMIZATION_CAPABILITIES"):
        raise EngineError(
            f'this {unit} has no instructions for bf16, such as AVX512_BF16 or AMX: leave `precision="bf16"` out'
        )
    if wanted == "int8" and unit == "CPU" and not multiplies_8_bits():
        raise EngineError('this CPU has no VNNI, without which 8-bit products overflow: choose `precision="fp32"`')
    if wanted == "int8" and not _reads_int8(bundle):
        raise EngineError(
            'this model\'s INT8 graph is for ONNX Runtime alone: choose `device="cpu"`, or leave `precision` out'
        )
    return wanted


def fastest(bundle: Bundle) -> Literal["bf16", "int8"] | None:
    """The precision in which OpenVINO is faster than ONNX Runtime on such a CPU, as measured, if the bundle proves it.

    None where there is none, or OpenVINO is not installed. It is not imported for that.
    """
    if find_spec("openvino") is None:
        return None
    if bundle.proves("int8") and has_vnni() and _reads_int8(bundle):
        return "int8"
    return "bf16" if bundle.proves("bf16") and gains_from_bf16() else None


def _reads_int8(bundle: Bundle) -> bool:
    return onnx_file.domains(bundle.graph("int8")) <= {"", "ai.onnx"}


class _Compute:
    """Runs a compiled graph, by an infer request of each thread's own."""

    def __init__(self, compiled: Any) -> None:
        self._compiled, self._own, self._tensor = compiled, threading.local(), load("openvino").Tensor

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Floats]:
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        request.set_input_tensor(self._tensor(pixels, shared_memory=True))
        request.start_async()
        if not request.wait_for(int(FIRST_RUN * 1000)):
            request.cancel()
            raise EngineError(f"the graph ran for {FIRST_RUN} s without an end; do you trust this bundle?")
        return [request.get_tensor(name).data for name in OUTPUTS]


@cache
def _core() -> Any:
    openvino = load("openvino")
    try:
        core = openvino.Core()
    except Exception as error:  # an old version, or a folder of that name
        raise EngineError(f'OpenVINO does not start: {error}; pip install "declip-rt[openvino]"') from error
    forks.never_free_in_a_child(core)
    return core
