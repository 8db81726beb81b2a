"""A strongly typed FP16 graph from the FP32 one, for TensorRT.

`pixels` stay uint8 and the outputs float32. The tower computes in FP16, so that attention fuses. These stay in FP32:
the normalisation of the pixels, FP32_OPS such as LayerNormalization, all nodes from the first L2 norm on (the
heads among them), and nodes with values above MAX_ACTIVATION. The last need the range of FP32 but not its precision, so
their weights are stored in FP16.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from msgspec.structs import replace
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization.calibrate import create_calibrator
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from declip_rt.backends.onnxrt.session import open_session, session_options
from declip_rt.backends.parity import compare
from declip_rt.model.manifest import INPUT, LIMITS, OUTPUTS, Parity
from export import weights
from export.parity import lowest_srcc

FP32_OPS = ("LayerNormalization", "Log", "Exp", "Pow", "Sqrt", "Reciprocal", "Range", "CumSum")  # in FP32 everywhere
MAX_ACTIVATION = 4096  # FP16 holds up to 65504, but sums need room
EPSILON = 2**-11  # the relative error of rounding to FP16
BATCH = 8  # of photos that give ranges
MIN_RANKED_IMAGES = 50  # an SRCC of fewer images says nothing


class Photos(CalibrationDataReader):  # type: ignore[misc]  # of an untyped package
    """Feeds pixels (N, V, S, S, 3) to the calibration."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._batches = (pixels[first : first + BATCH] for first in range(0, len(pixels), BATCH))

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


@dataclass(frozen=True)
class Fp16:
    """How near the FP16 graph comes to the FP32 one, and how much of it stays in FP32."""

    parity: Parity
    kept: int  # nodes in FP32
    nodes: int
    largest: tuple[tuple[str, float], ...]  # activations in FP16, by name, and their largest values

    @property
    def passes(self) -> bool:
        return self.parity.keeps(LIMITS["fp16"])

    def __str__(self) -> str:
        largest = ", ".join(f"{name} {value:.3g}" for name, value in self.largest)
        return f"{self.kept} of {self.nodes} nodes in FP32; {self.parity}; largest in FP16: {largest}"


def write_fp16(fp32: Path, fp16: Path, pixels: NDArray[np.uint8]) -> Fp16:
    """Writes the FP16 graph if it keeps to LIMITS.

    pixels: views (N, V, S, S, 3), for the ranges of activations and for the comparison of both graphs.
    """
    model = onnx.load(fp32)
    largest = _measure_largest(fp32, pixels)
    kept = _choose_fp32_nodes(model.graph, {name for name, value in largest.items() if value > MAX_ACTIVATION})
    wide = kept - _choose_fp32_nodes(model.graph, set())  # these need only the range
    nodes = len(model.graph.node)
    halved = {name for node in model.graph.node if node.name not in kept for name in node.output}
    del model.graph.value_info[:]  # it lists weights, too, and the conversion would cast these from FP32 to FP32
    converted = convert_float_to_float16(
        model, keep_io_types=True, op_block_list=list(FP32_OPS), node_block_list=sorted(kept)
    )
    _join_casts(converted.graph)
    _halve_weights(converted.graph, wide)
    tidy = OnnxModel(converted)
    tidy.prune_graph()
    tidy.topological_sort()
    onnx.checker.check_model(converted, full_check=True)
    graph = converted.SerializeToString()
    found = Fp16(measure(graph, fp32, pixels), len(kept), nodes, _top(largest, halved))
    fp16.unlink(missing_ok=True)
    if found.passes:
        fp16.write_bytes(graph)
    return found


def _measure_largest(fp32: Path, pixels: NDArray[np.uint8]) -> dict[str, float]:
    """The largest absolute value of each float activation, by name."""
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copy(fp32, folder))  # it writes beside the graph
        calibrator = create_calibrator(copy, augmented_model_path=f"{folder}/ranges.onnx")
        calibrator.collect_data(Photos(pixels))
        ranges = calibrator.compute_data()
        return {name: float(np.abs(ranges[name].range_value).max()) for name in ranges.data}


def _choose_fp32_nodes(graph: onnx.GraphProto, large: set[str]) -> set[str]:
    """The names of the nodes that stay in FP32. large: values above MAX_ACTIVATION."""
    kept: set[str] = set()
    layered: set[str] = set()  # values that depend on a convolution: every tower begins with one
    normed: set[str] = set()  # values that depend on an L2 norm
    for node in graph.node:  # in topological order
        if node.op_type == "Conv" or layered.intersection(node.input):
            layered.update(node.output)
        if node.op_type == "ReduceL2" or normed.intersection(node.input):
            normed.update(node.output)
        before, after = not layered.intersection(node.output), bool(normed.intersection(node.output))
        if before or after or node.op_type in FP32_OPS or large.intersection([*node.input, *node.output]):
            kept.add(node.name)
    return kept


def _top(largest: dict[str, float], names: set[str]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(((name, largest[name]) for name in names & largest.keys()), key=lambda pair: -pair[1])[:3])


def _join_casts(graph: onnx.GraphProto) -> None:
    """Removes the Casts to FP16 and back that the conversion puts between two nodes in FP32."""
    made = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    instead: dict[str, str] = {}
    for name, node in made.items():
        before = made.get(node.input[0])
        if _to(node) == TensorProto.FLOAT and before is not None and _to(before) == TensorProto.FLOAT16:
            instead[name] = before.input[0]
    outputs = {output.name for output in graph.output}
    for node in graph.node:
        if node.output[0] in outputs and node.output[0] in instead:
            node.CopyFrom(helper.make_node("Identity", [instead[node.output[0]]], node.output, name=node.name))
        else:
            node.input[:] = [instead.get(name, name) for name in node.input]
    del graph.value_info[:]  # its types no longer hold


def _halve_weights(graph: onnx.GraphProto, names: set[str]) -> None:
    """Stores the FP32 weights of these nodes in FP16, each followed by a Cast to FP32."""
    read = {name for node in graph.node if node.name in names for name in node.input}
    weights.halve(graph, [each for each in graph.initializer if each.name in read and len(each.dims) > 1], _is_near)


def _is_near(values: NDArray[np.float32], halved: NDArray[np.float16]) -> bool:
    """Whether the values are neither too large for FP16 nor all too small."""
    return bool(np.abs(halved - values).max() <= EPSILON * np.abs(values).max())


def _to(cast: NodeProto) -> int:
    return int(next(attribute.i for attribute in cast.attribute if attribute.name == "to"))


def measure(fp16: bytes, fp32: Path, pixels: NDArray[np.uint8]) -> Parity:
    """Compares a graph of FP16 or FP8 with the FP32 one on the CPU, on views (N, V, S, S, 3), one image at a time."""
    ours, reference = _outputs(fp16, "fp16", pixels), _outputs(fp32, "fp32", pixels)
    found = compare(ours, reference)
    if len(pixels) < MIN_RANKED_IMAGES:
        return found
    return replace(found, srcc=lowest_srcc(ours["scores"], reference["scores"]))


def _outputs(graph: Path | bytes, precision: str, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    session = open_session(graph, session_options(precision))
    rows = [session.run(OUTPUTS, {INPUT: each[None]}) for each in pixels]
    return {name: np.concatenate([row[i] for row in rows]).astype(np.float64) for i, name in enumerate(OUTPUTS)}
