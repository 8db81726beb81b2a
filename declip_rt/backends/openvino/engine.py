"""OpenVINO: a second engine for CPUs, in FP32 or bf16."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends import forks
from declip_rt.backends.contract import EngineInfo, EngineOptions, Floats
from declip_rt.backends.host import SPARE_LANES, HostEngine, share
from declip_rt.backends.onnxrt.session import FIRST_RUN, check_names
from declip_rt.errors import EngineError
from declip_rt.extras import load
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import OUTPUTS
from declip_rt.stats import Stats

HINTS = {"fp32": "f32", "bf16": "bf16"}


def open_compiled(bundle: Bundle, options: EngineOptions, stats: Stats) -> HostEngine:
    """The bundle's FP32 graph, compiled for a device of OpenVINO.

    Raises:
        EngineError: OpenVINO lacks the device, the device lacks the precision, or the graph cannot be compiled.
        Unavailable: OpenVINO is not installed.
    """
    unit, core, (at_once, threads) = options.on.unit, _core(), share(options)
    if unit not in (found := core.available_devices):
        raise EngineError(f"OpenVINO finds no {unit} here; it has: {', '.join(found) or 'none'}")
    precision = choose_precision(core, unit, options.precision)
    settings = {"INFERENCE_PRECISION_HINT": HINTS[precision], "NUM_STREAMS": at_once}
    if unit == "CPU":  # its cores are shared with the decoders
        settings |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
    graph = bundle.graph("fp32")
    try:
        compiled = core.compile_model(core.read_model(graph), unit, settings)
    except Exception as error:  # OpenVINO's exceptions share no base class
        raise EngineError(f"OpenVINO cannot compile {graph} for {unit}: {error}") from error
    forks.never_free_in_a_child(compiled)
    inputs, outputs = ([each.any_name for each in some] for some in (compiled.inputs, compiled.outputs))
    check_names(inputs, outputs, graph)
    name = f"OpenVINO {load('openvino').__version__.partition('-')[0]}, {unit}"
    info = EngineInfo("openvino", None, name, precision, options.batch, at_once + SPARE_LANES)
    return HostEngine(_Compute(compiled), bundle, info, at_once, stats, "OpenVINO")


def choose_precision(core: Any, unit: str, wanted: str) -> str:
    """auto is fp32. Raises EngineError where the device cannot compute what is wanted."""
    if wanted in ("fp16", "int8"):
        raise EngineError(f'OpenVINO computes fp32 and bf16 here, not {wanted}: leave `precision="{wanted}"` out')
    if wanted == "bf16" and "BF16" not in core.get_property(unit, "OPTIMIZATION_CAPABILITIES"):
        raise EngineError(
            f'this {unit} has no instructions for bf16, such as AVX512_BF16 or AMX: leave `precision="bf16"` out'
        )
    return "fp32" if wanted == "auto" else wanted


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
    core = load("openvino").Core()
    forks.never_free_in_a_child(core)
    return core
