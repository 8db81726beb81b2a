"""FLOPs are those that one counts by hand, and the matrix rate is that of a real product."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from declip_rt import Bundle, EngineError, Unavailable
from declip_rt.backends.contract import Device
from declip_rt.bench import flops

FLOAT = TensorProto.FLOAT
Weights = dict[str, Sequence[int]]


def written(path: Path, nodes: list[onnx.NodeProto], weights: Weights, pixels: Sequence[int | str]) -> Path:
    """A graph whose weights have a shape and no values, which nothing here reads."""
    values = [TensorProto(name=name, dims=dims, data_type=FLOAT) for name, dims in weights.items()]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("pixels", FLOAT, pixels)],
        [helper.make_tensor_value_info("scores", FLOAT, None)],
        values,
    )
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    return path


def test_a_convolution_with_groups_and_strides(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["pixels", "w"], ["scores"], group=2, strides=[2, 2], pads=[1, 1, 1, 1])
    graph = written(tmp_path / "a.onnx", [node], {"w": (8, 3, 3, 3)}, ["N", 6, 10, 12])
    assert flops.count(graph) == 2 * (8 * 5 * 6) * (3 * 3 * 3)


def test_products_of_all_kinds(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["pixels", "w"], ["a"]),  # (1, 4, 5, 6) x (6, 7)
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["a", "b"], ["c"]),  # (1, 4, 5, 7) x (1, 4, 7, 5)
        helper.make_node("Flatten", ["c"], ["d"], axis=3),  # (20, 5)
        helper.make_node("Gemm", ["d", "v"], ["scores"], transA=1, transB=1),  # (5, 20) x (20, 3)
    ]
    graph = written(tmp_path / "a.onnx", nodes, {"w": (6, 7), "v": (3, 20)}, ["N", 4, 5, 6])
    assert flops.count(graph) == 2 * (4 * 5 * 7 * 6 + 4 * 5 * 5 * 7 + 5 * 3 * 20)


def test_vit_b_32_has_4_4_giga_multiply_adds(tmp_path: Path) -> None:
    """The image tower at 224: 49 patches and a class token, 12 layers of width 768."""
    weights: Weights = {"patches": (768, 3, 32, 32), "token": (1, 1, 768), "projection": (768, 512)}
    nodes = [
        helper.make_node("Conv", ["pixels", "patches"], ["grid"], strides=[32, 32]),
        helper.make_node("Constant", [], ["shape"], value_ints=[1, 768, 49]),
        helper.make_node("Reshape", ["grid", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Concat", ["token", "turned"], ["x0"], axis=1),
    ]
    for i in range(12):
        weights |= {f"{name}{i}": (768, 768) for name in "qkvo"}
        weights |= {f"up{i}": (768, 3072), f"down{i}": (3072, 768)}
        nodes += [helper.make_node("MatMul", [f"x{i}", f"{name}{i}"], [f"{name}x{i}"]) for name in "qkv"]
        nodes += [
            helper.make_node("Transpose", [f"kx{i}"], [f"kt{i}"], perm=[0, 2, 1]),
            helper.make_node("MatMul", [f"qx{i}", f"kt{i}"], [f"attention{i}"]),  # heads share it, and cost the same
            helper.make_node("MatMul", [f"attention{i}", f"vx{i}"], [f"mixed{i}"]),
            helper.make_node("MatMul", [f"mixed{i}", f"o{i}"], [f"out{i}"]),
            helper.make_node("MatMul", [f"out{i}", f"up{i}"], [f"wide{i}"]),
            helper.make_node("MatMul", [f"wide{i}", f"down{i}"], [f"x{i + 1}"]),
        ]
    nodes.append(helper.make_node("ReduceMean", ["x12"], ["scores"]))
    graph = written(tmp_path / "a.onnx", nodes, weights, ["N", 3, 224, 224])
    assert flops.count(graph) == pytest.approx(2 * 4.41e9, rel=2e-3)


def test_the_embedded_model(bundle: Bundle) -> None:
    assert flops.count(bundle.graph()) == pytest.approx(2.016e9, rel=0.01)


def test_a_shape_that_nothing_tells_is_an_error(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("NonZero", ["pixels"], ["some"]),
        helper.make_node("Cast", ["some"], ["cast"], to=FLOAT),
        helper.make_node("MatMul", ["w", "cast"], ["scores"], name="product"),
    ]
    graph = written(tmp_path / "a.onnx", nodes, {"w": (3, 2)}, ["N", 4])
    with pytest.raises(EngineError, match="'product' is not fixed"):
        flops.count(graph)


def test_without_onnx_the_extra_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(Unavailable, match=r'pip install "declip-rt\[bench\]"'):
        flops.count(bundle.graph())


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_rate_of_a_product(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "SIDES", {"cpu": 256})
    monkeypatch.setattr(flops, "SECONDS", 0.0)
    assert 1e8 < flops.matrix_rate(Device("cpu"), precision, 1) < 1e14


def test_rates_that_cannot_be_measured() -> None:
    with pytest.raises(EngineError, match="CUDA cannot be used"):
        flops.matrix_rate(Device("tensorrt"), "fp16")
