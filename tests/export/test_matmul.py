"""Multiplications in 8 bits give nearly the same scores, whatever else is in the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from export.matmul import layer_errors, matrices, quantise


@pytest.fixture(scope="module")
def graphs(vit_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    fp32, int8 = vit_bundle / "fp32.onnx", tmp_path_factory.mktemp("graphs") / "int8.onnx"
    assert quantise(fp32, int8) == len(list(matrices(fp32)))
    return fp32, int8


def scores(graph: Path, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"pixels": pixels})[0]


def pixels_of(graph: Path, n: int) -> np.ndarray:
    shape = onnxruntime.InferenceSession(str(graph)).get_inputs()[0].shape[1:]
    return np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)


def test_scores_are_nearly_those_of_fp32(graphs: tuple[Path, Path]) -> None:
    pixels = pixels_of(graphs[0], 6)
    ours, reference = scores(graphs[1], pixels), scores(graphs[0], pixels)
    assert 0 < np.abs(ours - reference).max() < 0.02


def test_they_depend_neither_on_the_batch_nor_on_neighbours(graphs: tuple[Path, Path]) -> None:
    pixels = pixels_of(graphs[1], 6)
    pixels[3:] = pixels[3:] // 128 * 255  # which reach further
    together = scores(graphs[1], pixels)
    alone = np.concatenate([scores(graphs[1], pixels[i : i + 1]) for i in range(6)])
    assert np.abs(together - alone).max() <= 1e-3


def test_gelu_is_one_operation(graphs: tuple[Path, Path]) -> None:
    kinds = [[node.op_type for node in onnx.load(path).graph.node] for path in graphs]
    assert kinds[0].count("Erf") >= 2
    assert kinds[1].count("Gelu") == kinds[0].count("Erf")


def test_it_is_a_fraction_of_the_size(graphs: tuple[Path, Path]) -> None:
    assert graphs[1].stat().st_size < 0.4 * graphs[0].stat().st_size


def test_layers_can_stay_in_float(graphs: tuple[Path, Path], tmp_path: Path) -> None:
    errors = layer_errors(graphs[0], pixels_of(graphs[0], 2))
    assert 0 < max(errors.values()) < 0.05
    kept = next(iter(errors))
    assert quantise(graphs[0], tmp_path / "int8.onnx", frozenset([kept])) == len(errors) - 1
    assert kept in {tensor.name for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer}


@pytest.mark.parametrize(("outlier", "low", "high"), [(1.0, 0, 0.02), (1e4, 0.5, 2)])
def test_an_activation_that_dwarfs_its_row_is_seen(outlier: float, low: float, high: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gains, weight = np.ones(768, np.float32), rng.standard_normal((768, 256)).astype(np.float32)
    gains[5], weight[5] = outlier, 0  # huge, and without influence
    make, constants = onnx.helper.make_node, {"gains": gains, "weight": weight, "shape": np.array([-1, 768])}
    nodes = [
        make("Cast", ["pixels"], ["cast"], to=onnx.TensorProto.FLOAT),
        make("Reshape", ["cast", "shape"], ["flat"]),
        make("Mul", ["flat", "gains"], ["x"]),
        make("MatMul", ["x", "weight"], ["scores"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "outlier",
        [onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["N", 1, 16, 16, 3])],
        [onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["N", 256])],
        [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10),
        tmp_path / "g.onnx",
    )
    (error,) = layer_errors(tmp_path / "g.onnx", rng.integers(0, 256, (2, 1, 16, 16, 3), np.uint8)).values()
    assert low < error < high
