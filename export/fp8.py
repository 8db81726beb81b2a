"""An FP8 graph from the FP16 one, for TensorRT on GPUs that multiply 8-bit floats: Ada, Hopper and later.

Products of activations and weights get QuantizeLinear and DequantizeLinear, as strongly typed networks want it. All
else stays as it is. An activation has one scale, by the largest value that photos give. A weight has one for each
output channel. Convolutions stay in FP16, as those over single channels err too much.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from declip_rt.backends.onnxrt.session import open_session, session_options
from declip_rt.model.manifest import INPUT

OPSET = 19  # the first that has 8-bit floats
FP8 = ml_dtypes.float8_e4m3fn
MOST = 448.0  # that it holds
LEAST_SCALE = float(np.finfo(np.float16).tiny)
MIN_SHARE = 0.5  # of the weights: with fewer there is little to gain
BATCH = 8  # of photos that give ranges


@dataclass(frozen=True)
class Fp8:
    """How much of a graph is in 8 bits."""

    layers: int
    share: float  # of the weights, by elements

    @property
    def pays(self) -> bool:
        return self.share >= MIN_SHARE

    def __str__(self) -> str:
        return f"{self.layers} layers with {self.share:.0%} of the weights in 8 bits"


def write_fp8(fp16: Path, fp8: Path, pixels: NDArray[np.uint8]) -> Fp8:
    """Writes the FP8 graph. pixels: views (N, V, S, S, 3) of photos, for the ranges of activations."""
    model = onnx.load(fp16)
    graph, total = model.graph, _count(model.graph)
    halves = {each.name: each for each in graph.initializer if each.data_type == TensorProto.FLOAT16}
    layers = {node.name: node for node in graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in halves}
    largest = _measure_largest(fp16, sorted({node.input[0] for node in layers.values()}), pixels)
    nodes: list[NodeProto] = []
    rounded: dict[str, str] = {}  # activations and weights
    for node in graph.node:
        if node.name in layers:
            activation, weight = node.input[:2]
            if activation not in rounded:
                nodes += _round_activation(graph, activation, largest[activation])
                rounded[activation] = nodes[-1].output[0]
            if weight not in rounded:
                nodes.append(_round_weight(graph, node, numpy_helper.to_array(halves[weight])))
                rounded[weight] = nodes[-1].output[0]
            node.input[:2] = [rounded[activation], rounded[weight]]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)
    next(each for each in model.opset_import if not each.domain).version = OPSET
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, fp8)
    made = sum(halves[name].dims[0] * halves[name].dims[1] for name in rounded.keys() & halves.keys())
    return Fp8(len(layers), made / total)


def _measure_largest(fp16: Path, names: list[str], pixels: NDArray[np.uint8]) -> dict[str, float]:
    """The largest absolute values of these activations."""
    model = onnx.load(fp16)
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = open_session(model.SerializeToString(), session_options("fp16"))
    found = dict.fromkeys(names, 0.0)
    for first in range(0, len(pixels) if names else 0, BATCH):
        for name, values in zip(names, session.run(names, {INPUT: pixels[first : first + BATCH]}), strict=True):
            found[name] = max(found[name], float(np.abs(values).max()))
    return found


def _round_activation(graph: onnx.GraphProto, name: str, largest: float) -> list[NodeProto]:
    scales = _add_scales(graph, name, np.array(largest))
    return [
        helper.make_node("QuantizeLinear", [name, *scales], [f"{name}_fp8"]),
        helper.make_node("DequantizeLinear", [f"{name}_fp8", *scales], [f"{name}_rounded"]),
    ]


def _round_weight(graph: onnx.GraphProto, layer: NodeProto, weight: NDArray[np.float16]) -> NodeProto:
    """Stores the weight (in, out), or (out, in) with transB, in 8 bits, and returns what reads it."""
    name = layer.input[1]
    axis = 0 if any(each.name == "transB" and each.i for each in layer.attribute) else 1
    values = weight.astype(np.float32)
    largest = np.abs(values).max(1 - axis)
    scales = _add_scales(graph, name, largest)
    scale = np.expand_dims(_scale(largest).astype(np.float32), 1 - axis)
    stored = np.clip(values / scale, -MOST, MOST).astype(FP8)
    graph.initializer.append(_tensor(f"{name}_fp8", stored))
    return helper.make_node("DequantizeLinear", [f"{name}_fp8", *scales], [f"{name}_rounded"], axis=axis)


def _add_scales(graph: onnx.GraphProto, name: str, largest: NDArray[np.floating]) -> tuple[str, str]:
    """Adds the scales for these largest values, and their zero points. Returns both names."""
    graph.initializer.append(numpy_helper.from_array(_scale(largest), f"{name}_scale"))
    graph.initializer.append(_tensor(f"{name}_zero", np.zeros(largest.shape, FP8)))
    return f"{name}_scale", f"{name}_zero"


def _scale(largest: NDArray[np.floating]) -> NDArray[np.float16]:
    scale: NDArray[np.float16] = np.maximum(largest / MOST, LEAST_SCALE).astype(np.float16)
    return scale


def _tensor(name: str, values: NDArray[Any]) -> TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT8E4M3FN, values.shape, values.tobytes(), raw=True)


def _count(graph: onnx.GraphProto) -> int:
    """The elements of all float weights."""
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16)
    return sum(int(np.prod(each.dims)) for each in graph.initializer if each.data_type in floats)


def _drop_unused(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in node.input}
    kept = [each for each in graph.initializer if each.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
