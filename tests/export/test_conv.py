"""Convolutions in 8 bits give nearly the same scores, whatever else is in the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from export.conv import dense, layer_errors, quantise
from tests.export.conftest import Exported


@pytest.fixture(scope="module")
def fp32(exported: Exported) -> Path:
    """A MobileNetV4: convolutions of every kind."""
    return exported.graph


@pytest.fixture(scope="module")
def pixels(fp32: Path) -> np.ndarray:
    """Photos of very different contrast."""
    shape = onnxruntime.InferenceSession(str(fp32)).get_inputs()[0].shape[1:]
    noise = np.random.default_rng(0).normal(0, 1, (10, *shape)) * np.linspace(1, 70, 10)[:, None, None, None, None]
    return np.clip(128 + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def int8(fp32: Path, pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "int8.onnx"
    assert quantise(fp32, path, pixels) == len(list(dense(onnx.load(fp32).graph)))
    return path


def features(graph: Path, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return session.run(["perceptual"], {"pixels": pixels})[0]


def test_features_are_nearly_those_of_fp32(fp32: Path, int8: Path, pixels: np.ndarray) -> None:
    ours, reference = features(int8, pixels), features(fp32, pixels)
    cosines = (ours * reference).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(reference, axis=1)
    assert 0.95 < cosines.min() < 1


def test_they_depend_neither_on_the_batch_nor_on_neighbours(int8: Path, pixels: np.ndarray) -> None:
    alone = np.concatenate([features(int8, pixels[i : i + 1]) for i in range(len(pixels))])
    assert np.abs(features(int8, pixels) - alone).max() <= 1e-5


def test_depthwise_convolutions_stay_in_float(fp32: Path, int8: Path) -> None:
    groups = [
        next(attribute.i for attribute in node.attribute if attribute.name == "group")
        for node in onnx.load(fp32).graph.node
        if node.op_type == "Conv"
    ]
    assert max(groups) > 1
    tensors = onnx.load(int8).graph.initializer
    weights = [each for each in tensors if each.data_type == onnx.TensorProto.INT8 and len(each.dims) == 4]
    assert len(weights) == groups.count(1)


def test_layers_can_stay_in_float(fp32: Path, pixels: np.ndarray, tmp_path: Path) -> None:
    errors = layer_errors(fp32, pixels[:4])
    assert 0 < max(errors.values()) < 0.1
    assert quantise(fp32, tmp_path / "a.onnx", pixels, frozenset(list(errors)[1:])) == 1
    assert quantise(fp32, tmp_path / "b.onnx", pixels, frozenset(errors)) == 0
    assert not (tmp_path / "b.onnx").exists()


@pytest.mark.parametrize(("outlier", "low", "high"), [(1.0, 0, 0.02), (1e4, 0.5, 2)])
def test_a_channel_that_dwarfs_the_others_is_seen(outlier: float, low: float, high: float, tmp_path: Path) -> None:
    gains = np.array([1, 1, outlier], np.float32)
    weight = np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32)
    weight[:, 2] = 0  # huge, and without influence
    make = onnx.helper.make_node
    nodes = [
        make("Cast", ["pixels"], ["cast"], to=onnx.TensorProto.FLOAT),
        make("Squeeze", ["cast", "one"], ["view"]),
        make("Mul", ["view", "gains"], ["x"]),
        make("Transpose", ["x"], ["planes"], perm=[0, 3, 1, 2]),
        make("Conv", ["planes", "weight"], ["scores"], name="convolution"),
    ]
    constants = {"gains": gains, "weight": weight, "one": np.array([1])}
    graph = onnx.helper.make_graph(
        nodes,
        "outlier",
        [onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["N", 1, 16, 16, 3])],
        [onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["N", 8, 14, 14])],
        [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "g.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 1, 16, 16, 3), np.uint8)
    assert low < layer_errors(tmp_path / "g.onnx", pixels)["convolution"] < high
