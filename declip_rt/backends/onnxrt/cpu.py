"""ONNX Runtime on the CPU: the default engine, and the reference for all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends.contract import EngineInfo, EngineOptions, Floats
from declip_rt.backends.host import SPARE_LANES, HostEngine, share
from declip_rt.backends.instructions import multiplies_8_bits
from declip_rt.backends.onnxrt.session import check_names, open_session, run_first, runtime_module, session_options
from declip_rt.errors import EngineError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import INPUT, OUTPUTS
from declip_rt.stats import Stats


def open_onnx(bundle: Bundle, options: EngineOptions, stats: Stats, fallback: str | None = None) -> HostEngine:
    """One of the bundle's graphs. fallback: why the CPU computes where a GPU was asked for.

    Raises:
        EngineError: this CPU cannot compute what is asked for, or the graph cannot be loaded.
        Unavailable: ONNX Runtime is not installed.
        BundleError: the bundle has no graph of this precision.
    """
    session, precision, at_once = open_graph(bundle, options)
    inputs, outputs = ([each.name for each in some] for some in (session.get_inputs(), session.get_outputs()))
    check_names(inputs, outputs, bundle.graph(precision))
    name = f"ONNX Runtime {runtime_module().__version__}"
    info = EngineInfo("cpu", None, name, precision, options.batch, at_once + SPARE_LANES, fallback)
    return HostEngine(_Compute(session), bundle, info, at_once, stats, "ONNX Runtime")


def open_graph(bundle: Bundle, options: EngineOptions, profile: Path | None = None) -> tuple[Any, str, int]:
    """A session of one of the bundle's graphs, its precision, and how many batches should compute at once.

    profile: how the name of the file begins that the session writes what its nodes take to, at its `end_profiling`.
    Raises what `open_onnx` raises.
    """
    precision, (at_once, threads) = choose_precision(bundle, options.precision), share(options)
    settings = session_options(precision, threads - at_once + 1)  # ONNX Runtime counts one caller among its threads
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the decoders want the cores
    if profile is not None:
        settings.enable_profiling, settings.profile_file_prefix = True, str(profile)
    return open_session(bundle.graph(precision), settings), precision, at_once


class _Compute:
    """Runs a session, whose first run may have no end."""

    def __init__(self, session: Any) -> None:
        self.session, self._proven = session, False

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Floats]:
        found: list[Floats] = (
            self.session.run(OUTPUTS, {INPUT: pixels}) if self._proven else run_first(self.session, pixels)
        )
        self._proven = True
        return found


def choose_precision(bundle: Bundle, wanted: str) -> str:
    """The precision of the graph to run on this CPU.

    `auto` is int8 where this CPU can compute it and the bundle proves that it scores as fp32 does, else fp32.

    Raises EngineError where this CPU cannot compute what is wanted.
    """
    if wanted == "fp8":
        raise EngineError('fp8 graphs are for TensorRT; choose `device="tensorrt"`, or leave `precision` out')
    if wanted == "fp16":
        raise EngineError(
            'fp16 graphs are for GPUs; choose `device="tensorrt"` or `device="cuda"`, or leave `precision` out'
        )
    if wanted == "bf16":
        raise EngineError('bf16 is computed by OpenVINO: add `device="openvino"`, or leave `precision` out')
    if wanted == "int8" and not multiplies_8_bits():
        raise EngineError(
            "this CPU has no VNNI, without which 8-bit products overflow: the model's proof does not hold here; "
            'choose `precision="fp32"`, or leave it out'
        )
    if wanted != "auto":
        return wanted
    return "int8" if multiplies_8_bits() and bundle.proves("int8") else "fp32"
