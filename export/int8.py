"""INT8 graphs from the FP32 one, where they are faster on a CPU.

By ranges: NNCF rounds activations by ranges that photos gave. ONNX Runtime and OpenVINO both run such a graph.
By rows: `export.matmul` rounds each row of activations by its own range, which errs less. ONNX Runtime alone runs it.
In both, a score does not depend on what else is in the batch.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from declip_rt.errors import Unavailable
from declip_rt.extras import load
from declip_rt.model.manifest import INPUT, OUTPUTS
from export import matmul, weights

PROBE_PHOTOS = 8  # the layers' errors and the speeds are measured on these
MAX_ERROR = 0.05  # of a layer that is rounded by rows, relative to its output
MIN_SPEEDUP = 1.1
TIMING_RUNS = 5  # of each graph
Run: TypeAlias = Callable[[NDArray[np.uint8]], object]


@dataclass(frozen=True)
class Int8:
    """A graph, and how many times as fast as ONNX Runtime in FP32 each library runs it."""

    file: Path
    layers: int  # in 8 bits
    speedups: dict[str, float]

    @property
    def pays(self) -> bool:
        """Whether it does by each library, as nobody knows which one its users have."""
        return self.layers > 0 and min(self.speedups.values()) >= MIN_SPEEDUP

    def __str__(self) -> str:
        speeds = ", ".join(f"{speed:.2f} times as fast by {name}" for name, speed in self.speedups.items())
        return f"{self.layers} layers in 8 bits {self.file.stem.replace('-', ' ')}, {speeds}"


def write_int8(fp32: Path, folder: Path, pixels: NDArray[np.uint8]) -> list[Int8]:
    """Writes INT8 graphs into the folder. Returns them, those that pay first, and of them the fastest.

    pixels: views (N, V, S, S, 3) of photos, for the ranges of activations and the layers' errors.
    """
    probed, by_ranges, by_rows = pixels[:PROBE_PHOTOS], folder / "by-ranges.onnx", folder / "by-rows.onnx"
    onnx.save(_round_by_ranges(onnx.load(fp32), pixels), by_ranges)
    made = [Int8(by_ranges, _count(by_ranges), speedups(fp32, by_ranges, probed, ("ONNX Runtime", "OpenVINO")))]
    keep = frozenset(name for name, error in matmul.layer_errors(fp32, probed).items() if error > MAX_ERROR)
    if layers := matmul.quantise(fp32, by_rows, keep):
        made.append(Int8(by_rows, layers, speedups(fp32, by_rows, probed, ("ONNX Runtime",))))
    return sorted(made, key=lambda each: (not each.pays, -max(each.speedups.values())))


def _round_by_ranges(model: onnx.ModelProto, pixels: NDArray[np.uint8]) -> onnx.ModelProto:
    nncf, parameters = _load_nncf()

    weights.restore(model.graph)
    attends = any(node.op_type == "LayerNormalization" for node in model.graph.node)
    advanced = parameters.AdvancedQuantizationParameters(
        smooth_quant_alphas=parameters.AdvancedSmoothQuantParameters(matmul=-1),  # it errs more on towers of photos
        activations_quantization_params=parameters.QuantizationParameters(per_channel=False),  # as ONNX Runtime wants
    )
    logging.getLogger("nncf").setLevel(logging.ERROR)  # its own setter turns down the handlers of all
    with redirect_stdout(sys.stderr):  # its progress
        made: onnx.ModelProto = nncf.quantize(
            model,
            nncf.Dataset([{INPUT: each[None]} for each in pixels]),
            subset_size=len(pixels),
            model_type=nncf.ModelType.TRANSFORMER if attends else None,
            advanced_parameters=advanced,
        )
    return made


def _load_nncf() -> tuple[Any, Any]:
    """NNCF without its telemetry, and its module of parameters. It sets the class of all loggers, which is put back."""
    loggers = logging.getLoggerClass()
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # its import then fails
    import nncf
    from nncf.quantization import advanced_parameters

    logging.setLoggerClass(loggers)
    return nncf, advanced_parameters


def _count(graph: Path) -> int:
    """How many convolutions and products have 8-bit inputs alone."""
    nodes = onnx.load(graph).graph.node
    rounded = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    return sum(node.op_type in ("Conv", "MatMul", "Gemm") and rounded.issuperset(node.input[:2]) for node in nodes)


def speedups(fp32: Path, int8: Path, pixels: NDArray[np.uint8], libraries: Iterable[str]) -> dict[str, float]:
    """How many times as fast as ONNX Runtime in FP32 each library runs the INT8 graph on one thread of this machine.

    They are ratios of the shortest times. A library that is not installed, or does not take the graph, is left out.
    """
    opened = {name: run for name in libraries if (run := OPEN[name](int8))}
    runs = [_onnx_runtime(fp32), *opened.values()]
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(TIMING_RUNS):
        for run, times in zip(runs, seconds, strict=True):
            began = time.perf_counter()
            run(pixels)
            times.append(time.perf_counter() - began)
    base, *others = map(min, seconds)
    return {name: base / each for name, each in zip(opened, others, strict=True)}


def _onnx_runtime(graph: Path) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run([OUTPUTS[0]], {INPUT: pixels})


def _openvino(graph: Path) -> Run | None:
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    try:
        compiled = load("openvino").compile_model(str(graph), "CPU", settings)
    except (RuntimeError, Unavailable):
        return None
    return lambda pixels: compiled({INPUT: pixels})


OPEN: dict[str, Callable[[Path], Run | None]] = {"ONNX Runtime": _onnx_runtime, "OpenVINO": _openvino}
