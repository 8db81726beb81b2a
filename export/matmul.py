"""8-bit multiplications by constant matrices, for transformers on CPUs.

The matrix is rounded once, by a range for each column. Activations are rounded as they come, by a range for each row.
ONNX Runtime's own dynamic quantisation takes one range for the whole batch: a photo's score would depend on its
neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from export.activations import activations

MIN_SIDE = 256  # a matrix with fewer rows or columns does not pay
INT8_MAX = 127  # the largest 8-bit integer that is used
ZERO = 128  # the zero point of the unsigned activations
MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators
_STEPS = ["high", "low", "depth", "range", "scales", "rows", "zeros", "shape", "columns", "table", "flat", "rounded"]


def quantise(source: Path, out: Path, keep: frozenset[str] = frozenset()) -> int:
    """Writes the graph with 8-bit multiplications and returns their number. It writes nothing where it is 0.

    keep: names of weights. Multiplications by these stay in float.
    """
    model = onnx.load(source)
    graph = model.graph
    _fuse_gelu(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    rounded: set[str] = set()  # activations that already have a copy in 8 bits
    nodes, constants, count = [], _constants(), 0
    for node in graph.node:
        weight = _matrix(node, weights)
        if weight is None or node.input[1] in keep:
            nodes.append(node)
            continue
        count += 1
        rows, name = node.input[0], node.input[1]
        if rows not in rounded:
            rounded.add(rows)
            nodes += _round_rows(rows)
        scale = _steps(weight)
        constants[f"int8_{name}"] = np.round(weight / scale).astype(np.int8)
        constants[f"scale_{name}"] = scale.astype(np.float32)
        nodes += _multiply(node, rows, name)
    if not count:
        return 0
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in constants.items())
    used = {name for node in nodes for name in node.input}
    left = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(left)
    model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    onnx.checker.check_model(model)
    onnx.save(model, out)
    return count


def matrices(fp32: Path) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
    """Each multiplication that can be in 8 bits: names of activations and weight, and the weight (rows, columns)."""
    graph = onnx.load(fp32).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if (weight := _matrix(node, weights)) is not None:
            yield node.input[0], node.input[1], weight


def _matrix(node: NodeProto, weights: dict[str, onnx.TensorProto]) -> NDArray[np.float32] | None:
    """The constant (rows, columns) that the node multiplies by. None where there is none, or it is too small."""
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in weights:
        return None
    options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if options.get("transA") or options.get("alpha", 1.0) != 1.0 or options.get("beta", 1.0) != 1.0:
        return None
    weight = numpy_helper.to_array(weights[node.input[1]])
    if weight.ndim != 2 or min(weight.shape) < MIN_SIDE:
        return None
    return weight.T if options.get("transB") else weight


def _fuse_gelu(graph: onnx.GraphProto) -> None:
    """Makes x * (0.5 * (1 + erf(x / sqrt(2)))) one operation. ONNX Runtime does not fuse it in this order."""
    made = {name: node for node in graph.node for name in node.output}
    users = {name: [node for node in graph.node if name in node.input] for name in made}

    def after(node: NodeProto, kind: str) -> NodeProto | None:
        found = users.get(node.output[0], [])
        return found[0] if len(found) == 1 and found[0].op_type == kind else None

    gone, last = set(), {}
    for erf in (node for node in graph.node if node.op_type == "Erf"):
        divide, chain = made.get(erf.input[0]), [erf]
        for kind in ("Add", "Mul", "Mul"):
            if chain and (node := after(chain[-1], kind)):
                chain.append(node)
        if divide is None or divide.op_type != "Div" or len(chain) < 4 or divide.input[0] not in chain[3].input:
            continue
        gone |= {name for node in (divide, *chain[:3]) for name in node.output}
        last[chain[3].output[0]] = helper.make_node("Gelu", divide.input[:1], chain[3].output, domain=MICROSOFT)
    nodes = [last.get(node.output[0], node) for node in graph.node if node.output[0] not in gone]
    del graph.node[:]
    graph.node.extend(nodes)


def _constants() -> dict[str, NDArray[np.generic]]:
    return {
        "int8_one": np.array(1, np.float32),
        "int8_most": np.array(INT8_MAX, np.float32),
        "int8_zero": np.array(ZERO, np.uint8),
        "int8_tiny": np.array(1e-12, np.float32),
        "int8_last": np.array([-1], np.int64),
    }


def _round_rows(source: str) -> list[NodeProto]:
    """Rounds source (..., C) to int8_source uint8 (..., C): nearly (int8_source - 128) * scale_source (..., 1)."""
    make, own = helper.make_node, {name: f"int8_{name}_{source}" for name in _STEPS}
    return [
        make("ReduceMax", [source, "int8_last"], [own["high"]], keepdims=1),
        make("ReduceMin", [source, "int8_last"], [own["low"]], keepdims=1),
        make("Neg", [own["low"]], [own["depth"]]),
        make("Max", [own["high"], own["depth"], "int8_tiny"], [own["range"]]),
        make("Div", [own["range"], "int8_most"], [f"scale_{source}"]),
        make("Reshape", [f"scale_{source}", "int8_last"], [own["scales"]]),
        make("Shape", [own["scales"]], [own["rows"]]),
        make("Expand", ["int8_zero", own["rows"]], [own["zeros"]]),
        make("Shape", [source], [own["shape"]]),
        make("Shape", [source], [own["columns"]], start=-1),
        make("Concat", ["int8_last", own["columns"]], [own["table"]], axis=0),
        make("Reshape", [source, own["table"]], [own["flat"]]),
        make("QuantizeLinear", [own["flat"], own["scales"], own["zeros"]], [own["rounded"]], axis=0),
        make("Reshape", [own["rounded"], own["shape"]], [f"int8_{source}"]),
    ]


def _multiply(node: NodeProto, source: str, weight: str) -> list[NodeProto]:
    """The nodes that replace a MatMul, or a Gemm with its bias."""
    make, out = helper.make_node, node.output[0]
    bias = list(node.input[2:])
    product = f"{out}_product" if bias else out
    inputs = [f"int8_{source}", f"int8_{weight}", "int8_one", f"scale_{weight}", "int8_zero"]
    return [
        make("MatMulIntegerToFloat", inputs, [f"{out}_columns"], domain=MICROSOFT),
        make("Mul", [f"{out}_columns", f"scale_{source}"], [product]),
        *([make("Add", [product, *bias], [out])] if bias else []),
    ]


def layer_errors(fp32: Path, pixels: NDArray[np.uint8]) -> dict[str, float]:
    """How far rounding moves each multiplication's output, relative to its size: weight's name -> share, by RMS.

    Each layer is measured alone, on what the FP32 graph computes from `pixels` (N, V, S, S, 3).
    """
    found = list(matrices(fp32))
    if not found:
        return {}
    rows = activations(fp32, (source for source, _, _ in found), pixels)
    errors = {}
    for source, name, weight in found:
        x = rows[source].reshape(-1, weight.shape[0])
        scale, steps = (np.maximum(np.abs(x).max(1, keepdims=True), 1e-12) / INT8_MAX, _steps(weight))
        moved = (np.round(x / scale) * scale) @ (np.round(weight / steps) * steps) - x @ weight
        errors[name] = float(np.sqrt((moved**2).mean() / np.maximum(((x @ weight) ** 2).mean(), 1e-24)))
    return errors


def _steps(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a step of 1 is worth in each column (columns,)."""
    steps: NDArray[np.float32] = np.maximum(np.abs(weight).max(0), 1e-30) / INT8_MAX
    return steps
