"""FP8 graphs round products with weights alone, are built by TensorRT, and score as FP32 does or are left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, numpy_helper

from declip_rt import Bundle
from declip_rt.backends.onnxrt.session import open_session, session_options
from declip_rt.backends.trt.builder import build
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.model import onnx_file
from declip_rt.model.manifest import LIMITS, Graph, Limits
from export import fp16
from export.__main__ import export
from export.fp8 import write_fp8
from tests.export.conftest import Exported, photos_of


def test_a_transformers_products_with_weights_are_in_fp8(vit_bundle: Path, tmp_path: Path) -> None:
    bundle, graph = Bundle(vit_bundle), tmp_path / "fp8.onnx"
    pixels = photos_of(bundle.views)
    made = write_fp8(bundle.graph("fp16"), graph, pixels)
    assert made.pays
    assert made.layers >= 8, "two blocks of four"
    assert graph.stat().st_size < 0.8 * bundle.graph("fp16").stat().st_size
    assert onnx_file.domains(graph) == {""}
    near = fp16.measure(graph.read_bytes(), bundle.graph("fp32"), pixels)
    assert near.cosine is not None
    assert 0.99 < near.cosine < 0.99999
    alone, among = (features(graph, part)[0] for part in (pixels[3:4], pixels[3:]))
    assert alone == pytest.approx(among, abs=2e-3)


def test_every_rounded_product_has_8_bits_on_both_sides(vit_bundle: Path, tmp_path: Path) -> None:
    bundle, file = Bundle(vit_bundle), tmp_path / "fp8.onnx"
    pixels = photos_of(bundle.views)
    made = write_fp8(bundle.graph("fp16"), file, pixels)
    graph = onnx.load(file).graph
    written = {node.output[0]: node for node in graph.node}
    kinds = {each.name: each.data_type for each in graph.initializer}
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    assert not [node.name for node in products if kinds.get(node.input[1]) == TensorProto.FLOAT16]
    sources = [[written.get(name) for name in node.input[:2]] for node in products]
    rounded = [pair for pair in sources if all(each and each.op_type == "DequantizeLinear" for each in pair)]
    assert len(rounded) == made.layers
    values = {each.name: numpy_helper.to_array(each).astype(np.float32) for each in graph.initializer}
    inputs = sorted({written[activation.input[0]].input[0] for activation, _ in rounded})
    largest = {name: np.abs(found).max() for name, found in activations_of(bundle, inputs, pixels).items()}
    for activation, weight in rounded:
        before = written[activation.input[0]]
        assert before.op_type == "QuantizeLinear"
        assert values[before.input[1]] * 448 == pytest.approx(largest[before.input[0]], rel=1e-2)
        assert kinds[weight.input[0]] == TensorProto.FLOAT8E4M3FN
        across = 1 - weight.attribute[0].i  # the range of each output channel is used to its end
        assert np.abs(values[weight.input[0]]).max(across) == pytest.approx(448)


def test_a_convolutional_tower_does_not_pay(exported: Exported, tmp_path: Path) -> None:
    bundle = Bundle(exported.bundle)
    assert not write_fp8(bundle.graph("fp16"), tmp_path / "fp8.onnx", photos_of(bundle.views)).pays


def test_tensorrt_for_rtx_builds_it(vit_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="NOT RUN, TensorRT for RTX is not installed")
    bundle = Bundle(vit_bundle)
    (tmp_path / "fp32.onnx").write_bytes(bundle.graph("fp32").read_bytes())
    write_fp8(bundle.graph("fp16"), tmp_path / "fp8.onnx", photos_of(bundle.views))
    graphs = {name: Graph.of(tmp_path / f"{name}.onnx") for name in ("fp32", "fp8")}
    replace(bundle.manifest, graphs=graphs, text=None).write(tmp_path)
    assert build(Bundle(tmp_path), Recipe(library="tensorrt_rtx", graph="fp8", batches=(1, 4)), ("sm89", "sm120"))


@pytest.mark.parametrize("strict", [True, False])
def test_the_export_proves_fp8(
    strict: bool,
    vit: Path,
    vit_bundle: Path,
    copying: Callable[[Path], None],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    limits = Limits(change=0.0 if strict else 0.1, cosine=0.99, srcc=-1.0)  # of an untrained model ranks are noise
    monkeypatch.setitem(LIMITS, "fp8", limits)
    monkeypatch.setattr("export.__main__.multiplies_8_bits", lambda: False)
    copying(vit_bundle)
    manifest = export(vit, tmp_path / "bundle", None, photos, with_fp8=True)
    said = capsys.readouterr().out
    assert "of the weights in 8 bits; lowest cosine 0.99" in said
    assert ("left out, as it must keep to: cosine at least 0.99, SRCC at least -1.0" in said) == strict
    assert ("fp8" in manifest.graphs) == (tmp_path / "bundle" / "fp8.onnx").exists() != strict
    assert Bundle(tmp_path / "bundle").manifest == manifest
    if not strict:
        parity = manifest.graphs["fp8"].parity
        assert parity is not None
        assert parity.n == 50


def activations_of(bundle: Bundle, names: list[str], pixels: np.ndarray) -> dict[str, np.ndarray]:
    model = onnx.load(bundle.graph("fp16"))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = open_session(model.SerializeToString(), session_options("fp16"))
    return dict(zip(names, session.run(names, {"pixels": pixels}), strict=True))


def features(graph: Path, pixels: np.ndarray) -> np.ndarray:
    return open_session(graph, session_options("fp16")).run(["perceptual"], {"pixels": pixels})[0]
