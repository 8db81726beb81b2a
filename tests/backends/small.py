"""A bundle of one layer, for engines whose calls are what a test is about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from msgspec.structs import replace
from onnx import helper, numpy_helper

from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import Graph, Placement, ViewSpec


def small_bundle(folder: Path) -> Bundle:
    """A model of one layer, for 2 views of 16x16, whose FP16 graph is its FP32 one."""
    base = Bundle()
    rng, views, features = np.random.default_rng(0), ViewSpec(16, (Placement(16), Placement(32))), 8
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Reshape", ["floats", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["layer"]),
        helper.make_node("Split", ["layer", "widths"], ["logits", "p", "s"], axis=1),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("LpNormalization", ["p"], ["perceptual"]),
        helper.make_node("LpNormalization", ["s"], ["semantic"]),
    ]
    widths = [len(base.heads), features, features]
    weights = rng.normal(0, 2e-4, (int(np.prod(views.shape)), sum(widths))).astype(np.float32)
    constants = {"flat": np.array([0, -1]), "weights": weights, "widths": np.array(widths)}
    outputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", width])
        for name, width in zip(("scores", "perceptual", "semantic"), widths, strict=True)
    ]
    pixels_in = helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["N", *views.shape])
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "small", [pixels_in], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for name in ("fp32", "fp16"):
        onnx.save(model, folder / f"{name}.onnx")
    graphs = {name: Graph.of(folder / f"{name}.onnx") for name in ("fp32", "fp16")}
    changes = {"graphs": graphs, "views": views, "features": features, "text": None, "name": "small"}
    replace(base.manifest, **changes).write(folder)
    return Bundle(folder)
