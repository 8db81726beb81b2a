"""Plans are built by the real TensorRT for RTX, which needs no GPU for that."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from msgspec.structs import replace

from declip_rt import Bundle, BundleError, EngineError, Unavailable
from declip_rt.backends.trt.builder import build
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.model.manifest import Graph

tensorrt_rtx = pytest.importorskip("tensorrt_rtx", reason="NOT RUN, TensorRT for RTX is not installed")
RTX = Recipe(library="tensorrt_rtx", graph="fp32", batches=(1, 4))
SM89 = ("sm89",)


@pytest.mark.parametrize("targets", [SM89, ("sm86", "sm120"), ()])
def test_a_plan_is_built_for_named_gpus(bundle: Bundle, targets: tuple[str, ...]) -> None:
    seen: list[tuple[str, int, int]] = []
    plan = build(bundle, RTX, targets, lambda *step: seen.append(step))
    assert len(plan) > 1e6
    name, done, steps = seen[-1]
    assert done == steps > 0
    assert (name, 0, steps) in seen


def test_levels_workspace_and_streams_are_taken(bundle: Bundle) -> None:
    assert build(bundle, replace(RTX, batches=(1,), workspace_mb=64, max_aux_streams=0), SM89)


def test_an_unknown_gpu_names_the_known_ones(bundle: Bundle) -> None:
    with pytest.raises(Unavailable, match=r"knows no GPU called 'sm90'; choose from .*sm89.*declip-rt\[tensorrt\]"):
        build(bundle, RTX, ["sm90"])


def test_a_missing_library_names_its_extra(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(Unavailable, match=r'pip install "declip-rt\[tensorrt\]"'):
        build(bundle, Recipe(graph="fp32"))


def test_a_graph_that_the_bundle_lacks_is_named(bundle: Bundle, tmp_path: Path) -> None:
    fp32 = {"fp32": bundle.manifest.graphs["fp32"]}
    (tmp_path / "fp32.onnx").write_bytes(bundle.graph().read_bytes())
    replace(bundle.manifest, graphs=fp32, text=None).write(tmp_path)
    with pytest.raises(BundleError, match="has no fp16 graph"):
        build(Bundle(tmp_path), Recipe(library="tensorrt_rtx"))


def test_what_cannot_be_parsed_is_said_in_the_librarys_words(bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(bundle.graph())
    model.graph.node[3].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "fp32.onnx")
    replace(bundle.manifest, graphs={"fp32": Graph.of(tmp_path / "fp32.onnx")}, text=None).write(tmp_path)
    with pytest.raises(EngineError, match=rf"tensorrt_rtx {tensorrt_rtx.__version__} cannot parse .*NoSuchOperator"):
        build(Bundle(tmp_path), RTX, SM89)
