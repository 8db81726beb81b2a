"""The arithmetic of a model: the matrix FLOPs of an image, and how many a second the device can do at all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from declip_rt.backends.contract import Device
from declip_rt.backends.onnxrt.session import open_cuda_session, open_session, runtime_module, session_options
from declip_rt.backends.trt.recipe import default_recipe
from declip_rt.bench.product import Product
from declip_rt.errors import EngineError
from declip_rt.extras import load
from declip_rt.stats import cores

SIDES = {"cpu": 2048, "cuda": 8192, "tensorrt": 8192}  # of the matrices that are multiplied
SECONDS, RUNS = 1.0, 5  # at least, of multiplying
LARGE = 1000  # elements of a constant that is no shape
Shape = tuple[int, ...]
Multiply = Callable[[], float]  # returns the seconds that it took


def count(graph: Path) -> int:
    """The matrix FLOPs of one image, 2 for each multiply-add in the graph's Conv, Gemm and MatMul nodes.

    Nothing else is counted, as is customary: it is little, and no hardware has matrix units for it.

    Raises:
        Unavailable: onnx is not installed.
        EngineError: the graph has a matrix product whose shape does not follow from that of its inputs.
    """
    onnx = load("onnx")
    model = onnx.load(graph, load_external_data=False)
    for each in model.graph.initializer:
        if math.prod(each.dims) > LARGE:
            each.ClearField("raw_data")  # shapes are all that counts, and copies of weights are large
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]  # they speak of N images
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {value.name: _shape(value) for value in (*inferred.input, *inferred.value_info, *inferred.output)}
    shapes |= {each.name: tuple(each.dims) for each in inferred.initializer}
    return sum(_flops(node, shapes) for node in inferred.node if node.op_type in _COUNTED)


def matrix_rate(device: Device, precision: str, threads: int | None = None) -> float:
    """The FLOP/s of one large matrix product through the runtime of the device, in a graph's type: its best run.

    threads: on a CPU; None is one a core. Raises Unavailable where onnx is not installed, EngineError where it cannot
    be measured.
    """
    if precision in ("bf16", "fp8"):
        raise EngineError(f"not measured: there is no plain product in {precision} to compare with")
    side = SIDES[device.kind]
    left, right = _matrices(side, precision)
    if device.kind == "tensorrt":
        multiply: Multiply = Product(_product_graph(left, right), left, device.index, default_recipe())
    else:
        multiply = _onnx_product(device, left, right, threads or cores())
    multiply()
    times: list[float] = []
    while len(times) < RUNS or sum(times) < SECONDS:
        times.append(multiply())
    return 2 * side**3 / min(times)


def _onnx_product(device: Device, left: np.ndarray[Any, Any], right: np.ndarray[Any, Any], threads: int) -> Multiply:
    """What multiplies two matrices that are on the device already."""
    runtime = runtime_module()
    graph, options = _product_graph(left, right), session_options("fp32", threads)
    on_gpu = device.kind == "cuda"
    session = open_cuda_session(graph, options, device.index) if on_gpu else open_session(graph, options)
    try:
        binding = session.io_binding()
        binding.bind_ortvalue_input("left", runtime.OrtValue.ortvalue_from_numpy(left, device.kind, device.index))
        binding.bind_output("product", device.kind, device.index)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise EngineError(f"not measured: {error}") from error

    def multiply() -> float:
        began = time.perf_counter()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return time.perf_counter() - began

    return multiply


def _matrices(side: int, precision: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Random, as zeros take less power and are multiplied faster. (side, side) each."""
    rng = np.random.default_rng(0)
    if precision == "int8":
        return rng.integers(0, 256, (side, side), np.uint8), rng.integers(-127, 128, (side, side), np.int8)
    kind = np.float16 if precision == "fp16" else np.float32
    left, right = (rng.standard_normal((side, side), np.float32).astype(kind) for _ in range(2))
    return left, right


def _product_graph(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> bytes:
    """`right` is a constant, as a model's weights are, which a runtime may pack as it likes."""
    onnx = load("onnx")
    helper, whole = onnx.helper, left.dtype == np.uint8
    kind = helper.np_dtype_to_tensor_dtype(left.dtype)
    node = helper.make_node("MatMulInteger" if whole else "MatMul", ["left", "right"], ["product"])
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("left", kind, left.shape)],
        [helper.make_tensor_value_info("product", onnx.TensorProto.INT32 if whole else kind, left.shape)],
        [onnx.numpy_helper.from_array(right, "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    serialised: bytes = model.SerializeToString()
    return serialised


def _shape(value: Any) -> Shape:
    """With 0 for what is unknown."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _flops(node: Any, shapes: dict[str, Shape]) -> int:
    made = shapes.get(node.output[0], ())
    multiplied = _COUNTED[node.op_type](node, shapes)
    if not (flops := 2 * math.prod(made) * multiplied if made else 0):
        raise EngineError(f"not counted: the shape of {node.op_type} {node.name!r} is not fixed by that of the pixels")
    return flops


def _of_convolution(node: Any, shapes: dict[str, Shape]) -> int:
    return math.prod(shapes.get(node.input[1], (0, 0))[1:])  # input channels of a group, times the kernel


def _of_gemm(node: Any, shapes: dict[str, Shape]) -> int:
    transposed = any(each.name == "transA" and each.i for each in node.attribute)
    return shapes.get(node.input[0], (0, 0))[0 if transposed else 1]


def _of_product(node: Any, shapes: dict[str, Shape]) -> int:
    return shapes.get(node.input[0], (0,))[-1]


_COUNTED = {"Conv": _of_convolution, "Gemm": _of_gemm, "MatMul": _of_product}
