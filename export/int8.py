"""An INT8 graph from the FP32 one, where that is faster on a CPU."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from declip_rt.model.manifest import INPUT, OUTPUTS
from export import conv, matmul

PROBE_PHOTOS = 8  # the layers' errors are measured on these
MAX_ERROR = 0.05  # of a layer in 8 bits, relative to its output
MIN_SPEEDUP = 1.1
TIMING_RUNS = 5  # of each graph


@dataclass(frozen=True)
class Int8:
    """How many layers are in 8 bits, how many could be, and how many times as fast as FP32 the graph is."""

    rounded: int
    layers: int
    speedup: float

    @property
    def pays(self) -> bool:
        return self.speedup >= MIN_SPEEDUP

    def __str__(self) -> str:
        return f"{self.rounded} of {self.layers} layers in 8 bits, {self.speedup:.2f} times as fast as fp32"


def write_int8(fp32: Path, int8: Path, pixels: NDArray[np.uint8]) -> Int8:
    """Writes the INT8 graph, but leaves no file if it does not pay.

    pixels: views (N, V, S, S, 3) of photos, for the ranges of activations and the layers' errors. Layers with errors
    above MAX_ERROR stay in float.
    """
    probed = pixels[:PROBE_PHOTOS]
    errors = matmul.layer_errors(fp32, probed) | conv.layer_errors(fp32, probed)
    keep = frozenset(name for name, error in errors.items() if error > MAX_ERROR)
    with TemporaryDirectory() as folder:
        between = Path(folder) / "between.onnx"
        convolutions = conv.quantise(fp32, between, pixels, keep)
        matrices = matmul.quantise(between if convolutions else fp32, int8, keep)
        if convolutions and not matrices:
            int8.write_bytes(between.read_bytes())
    rounded = convolutions + matrices
    made = Int8(rounded, len(errors), speedup(fp32, int8, probed) if rounded else 1.0)
    if not made.pays:
        int8.unlink(missing_ok=True)
    return made


def speedup(fp32: Path, int8: Path, pixels: NDArray[np.uint8]) -> float:
    """How many times as fast the INT8 graph runs on one thread of this machine: the ratio of the shortest times."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]) for path in (fp32, int8)
    ]
    seconds: list[list[float]] = [[], []]
    for _ in range(TIMING_RUNS):
        for session, times in zip(sessions, seconds, strict=True):
            began = time.perf_counter()
            session.run([OUTPUTS[0]], {INPUT: pixels})
            times.append(time.perf_counter() - began)
    return min(seconds[0]) / min(seconds[1])
