"""Weights that FP16 holds take half the room in every bundle, and change no score by a bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec.structs import replace
from onnx import TensorProto

from declip_rt import Bundle, Scorer
from declip_rt.bench import flops
from declip_rt.model.manifest import Calibration, Graph
from export import weights
from export.__main__ import export
from export.graph import write_graph
from tests.conftest import picture
from tests.training import once
from train.model import load, save


@pytest.fixture(scope="module")
def halved(vit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with vit.pt, whose weights are FP16 numbers, its bundle, and plain.onnx as torch exports it."""

    def make(folder: Path) -> None:
        config, model, _ = load(vit)
        for each in (*model.parameters(), *model.buffers()):
            if each.is_floating_point():
                each.data = each.data.half().float()
        save(folder / "vit.pt", config, model, Calibration())
        export(folder / "vit.pt", folder / "bundle", None)
        write_graph(load(folder / "vit.pt")[1], config.views, folder / "plain.onnx")

    return once(tmp_path_factory, "halved", make)


def test_the_graph_is_half_as_large_and_the_outputs_are_the_same_to_the_bit(halved: Path) -> None:
    plain, stored = halved / "plain.onnx", halved / "bundle" / "fp32.onnx"
    assert stored.stat().st_size < 0.55 * plain.stat().st_size
    pixels = np.random.default_rng(0).integers(0, 256, (3, *Bundle(halved / "bundle").views.shape), np.uint8)
    before, after = (onnxruntime.InferenceSession(path).run(None, {"pixels": pixels}) for path in (plain, stored))
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    assert np.ptp(before[0], 0).max() > 0


def test_the_runtime_scores_to_the_bit_as_with_the_plain_graph(halved: Path, tmp_path: Path) -> None:
    bundle = Bundle(halved / "bundle")
    graph = Graph.of(halved / "plain.onnx")
    (tmp_path / "plain.onnx").write_bytes((halved / "plain.onnx").read_bytes())
    replace(bundle.manifest, graphs={"fp32": graph}, text=None).write(tmp_path)
    with Scorer(bundle.path, "cpu") as ours, Scorer(tmp_path, "cpu") as before:
        assert ours.score(picture()) == before.score(picture())


def test_the_pixels_are_still_cast_first(halved: Path) -> None:
    graph = onnx.load(halved / "bundle" / "fp32.onnx").graph
    assert "pixels" in graph.node[0].input
    assert graph.node[1].op_type == "Cast", "which is that of a weight"
    onnx.checker.check_model(halved / "bundle" / "fp32.onnx", full_check=True)


def test_its_arithmetic_is_counted_as_before(halved: Path) -> None:
    assert flops.count(halved / "bundle" / "fp32.onnx") == flops.count(halved / "plain.onnx") > 0


def test_lower_precisions_are_made_from_the_plain_graph(halved: Path) -> None:
    graph = onnx.load(halved / "bundle" / "fp16.onnx").graph
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer if len(tensor.dims) > 1}
    made = {node.output[0] for node in graph.node if node.op_type == "Cast" and node.input[0] in stored}
    products = [name for node in graph.node if node.op_type in ("MatMul", "Gemm") for name in node.input]
    assert TensorProto.FLOAT16 in {stored.get(name) for name in products}
    assert not [name for name in made if name.endswith("_fp16")], "no weight is cast twice"


@pytest.mark.parametrize(
    ("values", "count"),
    [
        (np.ones((2, 2)), 1),
        (np.full(255, 0.5), 0),  # small
        (np.full(256, 0.5), 1),
        (np.full((2, 2), 1 + 2.0**-11), 0),  # a bit too fine
        (np.full((2, 2), 65536.0), 0),
        (np.full((2, 2), 2.0**-24), 1),  # the least of FP16
        (np.full((2, 2), 2.0**-25), 0),
        (np.full((2, 2), np.nan), 0),
        (np.full((2, 2), -np.inf), 0),
        (np.ones((2, 2), np.int64), 0),
    ],
)
def test_only_what_fp16_holds_exactly_is_stored_in_it(values: np.ndarray, count: int, tmp_path: Path) -> None:
    values = values.astype(np.float32) if values.dtype == np.float64 else values
    kind = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["w"], ["y"])],
        "constant",
        [],
        [onnx.helper.make_tensor_value_info("y", kind, values.shape)],
        [onnx.numpy_helper.from_array(values, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "plain.onnx")
    assert weights.store(tmp_path / "plain.onnx", tmp_path / "stored.onnx") == count
    if not count:
        assert (tmp_path / "stored.onnx").read_bytes() == (tmp_path / "plain.onnx").read_bytes()


def test_what_was_stored_comes_back_without_its_casts(halved: Path) -> None:
    plain, model = onnx.load(halved / "plain.onnx"), onnx.load(halved / "bundle" / "fp32.onnx")
    weights.restore(model.graph)
    assert [node.op_type for node in model.graph.node] == [node.op_type for node in plain.graph.node]
    assert {each.name for each in model.graph.initializer} == {each.name for each in plain.graph.initializer}
    pixels = np.full((1, *Bundle(halved / "bundle").views.shape), 99, np.uint8)
    before, after = (
        onnxruntime.InferenceSession(each.SerializeToString()).run(None, {"pixels": pixels}) for each in (plain, model)
    )
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))
