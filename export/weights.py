"""Weights stored in FP16, each followed by a Cast to FP32, which ONNX Runtime folds as it loads a graph.

Weights that were made in FP16, as OpenAI's CLIP, take half the room and give the same scores to the bit. Conversions
to lower precisions read weights by name: they start from the plain graph, and storing comes last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MIN_ELEMENTS = 256  # of a vector that is worth a Cast
Fits = Callable[[NDArray[np.float32], NDArray[np.float16]], bool]


def store(plain: Path, path: Path) -> int:
    """Writes the graph `plain` with all weights in FP16 that FP16 holds exactly. Returns their number."""
    model = onnx.load(plain)
    large = [each for each in model.graph.initializer if len(each.dims) > 1 or math.prod(each.dims) >= MIN_ELEMENTS]
    count = halve(model.graph, large, _are_exact)
    path.write_bytes(model.SerializeToString())
    return count


def halve(graph: onnx.GraphProto, tensors: Iterable[TensorProto], fits: Fits) -> int:
    """Stores those FP32 tensors of the graph in FP16 whose values and FP16 values `fits`. Returns their number.

    The Casts follow the graph's first node, which TensorRT wants to be that of the pixels.
    """
    casts = []
    for tensor in tensors:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halved = values.astype(np.float16)
        if fits(values, halved):
            casts.append(helper.make_node("Cast", [f"{tensor.name}_fp16"], [tensor.name], to=TensorProto.FLOAT))
            tensor.CopyFrom(numpy_helper.from_array(halved, f"{tensor.name}_fp16"))
    first, *others = graph.node
    del graph.node[:]
    graph.node.extend([first, *casts, *others])
    return len(casts)


def _are_exact(values: NDArray[np.float32], halved: NDArray[np.float16]) -> bool:
    return bool(np.isfinite(values).all()) and np.array_equal(values, halved)


def _to_float(cast: onnx.NodeProto) -> bool:
    return any(each.name == "to" and each.i == TensorProto.FLOAT for each in cast.attribute)


def restore(graph: onnx.GraphProto) -> None:
    """Turns weights that are stored in FP16 into FP32 ones again, without their Casts."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        tensor = stored.get(node.input[0]) if node.op_type == "Cast" else None
        if tensor is not None and tensor.data_type == TensorProto.FLOAT16 and _to_float(node):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), node.output[0]))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
