"""8-bit convolutions, for convolutional towers on CPUs.

Photos give the ranges of activations beforehand (onnxruntime.quantization, static, in QDQ format), so that a score does
not depend on what else is in the batch. Depthwise convolutions stay in float: in 8 bits they are slower.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from declip_rt.model.manifest import INPUT
from export.activations import activations

STEPS = 255  # of unsigned activations
INT8_MAX = 127  # the largest 8-bit integer of a weight
BATCH = 8


class Photos(CalibrationDataReader):  # type: ignore[misc]  # of an untyped package
    """Feeds pixels (N, V, S, S, 3) to the calibration."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._batches = (pixels[first : first + BATCH] for first in range(0, len(pixels), BATCH))

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def quantise(source: Path, out: Path, pixels: NDArray[np.uint8], keep: frozenset[str] = frozenset()) -> int:
    """Writes the graph with 8-bit convolutions and returns their number. It writes nothing where it is 0.

    pixels: views (N, V, S, S, 3) that give the ranges. keep: names of nodes that stay in float.
    """
    graph = onnx.load(source).graph
    convolutions = [node for node in dense(graph) if node.name not in keep]
    if not convolutions:
        return 0
    outputs = {node.output[0] for node in convolutions}
    relus = [node.name for node in graph.node if node.op_type == "Relu" and node.input[0] in outputs]
    logging.disable(logging.WARNING)  # it asks for a pre-processing that torch's exporter has done
    try:
        quantize_static(
            source,
            out,
            Photos(pixels),
            op_types_to_quantize=["Conv", "Relu"],
            nodes_to_quantize=[node.name for node in convolutions] + relus,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.disable(logging.NOTSET)
    return len(convolutions)


def dense(graph: onnx.GraphProto) -> Iterator[NodeProto]:
    """The convolutions that mix channels, with constant weights."""
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        if node.op_type == "Conv" and groups == 1 and node.input[1] in constants:
            yield node


def layer_errors(fp32: Path, pixels: NDArray[np.uint8]) -> dict[str, float]:
    """How far rounding moves each convolution's output, relative to its size: node's name -> share, by RMS.

    Each layer is measured alone, on what the FP32 graph computes from `pixels` (N, V, S, S, 3).
    """
    graph = onnx.load(fp32).graph
    nodes = list(dense(graph))
    if not nodes:
        return {}
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    inputs = activations(fp32, (node.input[0] for node in nodes), pixels)
    errors = {}
    for node in nodes:
        x, weight = inputs[node.input[0]], weights[node.input[1]]
        exact, moved = (_convolve(node, *pair) for pair in ((x, weight), (_round(x), _round_weight(weight))))
        errors[node.name] = float(np.sqrt(((moved - exact) ** 2).mean() / max((exact**2).mean(), 1e-24)))
    return errors


def _convolve(node: NodeProto, x: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Runs the node alone, without its bias."""
    names = ("x", "weight")
    alone = helper.make_node("Conv", names, ["y"])
    alone.attribute.extend(node.attribute)
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * x.ndim) for name in names]
    graph = helper.make_graph([alone], "convolution", given, [helper.make_empty_tensor_value_info("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y: NDArray[np.float32] = session.run(["y"], {"x": x, "weight": weight})[0]
    return y


def _round(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounds by one range for the whole tensor, which includes 0."""
    step = max(max(float(x.max()), 0) - min(float(x.min()), 0), 1e-12) / STEPS
    return np.round(x / np.float32(step)) * np.float32(step)


def _round_weight(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounds by a range for each output channel."""
    steps = np.maximum(np.abs(weight).max(tuple(range(1, weight.ndim)), keepdims=True), 1e-30) / INT8_MAX
    rounded: NDArray[np.float32] = np.round(weight / steps) * steps
    return rounded
