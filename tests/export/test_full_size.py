"""Models of full size pass the FP16 gate, export, and become TensorRT plans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks.peers import random_model
from declip_rt import Bundle
from declip_rt.backends.trt.builder import build
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.model.manifest import Graph
from export.__main__ import export
from export.fp16 import Fp16, write_fp16
from export.graph import write_graph
from tests.training import once
from train.model import load


def halved(checkpoint: Path, folder: Path) -> Fp16:
    """Writes fp32.onnx and fp16.onnx into the folder."""
    config, model, _ = load(checkpoint)
    write_graph(model, config.views, folder / "fp32.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (1, *config.views.shape), np.uint8)
    return write_fp16(folder / "fp32.onnx", folder / "fp16.onnx", pixels)


def check(cosine: float, folder: Path) -> None:
    assert cosine > 0.9999
    assert (folder / "fp16.onnx").stat().st_size < 0.55 * (folder / "fp32.onnx").stat().st_size


@pytest.fixture(scope="module")
def graphs(full_size: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the graphs of ViT-B/32, and the cosine between them."""

    def make(folder: Path) -> None:
        (folder / "cosine").write_text(str(halved(full_size, folder).parity.cosine))

    return once(tmp_path_factory, "full-size-graphs", make)


def test_vit_b_32_passes_the_gate(graphs: Path) -> None:
    check(float((graphs / "cosine").read_text()), graphs)


def test_its_plan_in_fp16_is_half_the_size(graphs: Path, full_size: Path, bundle: Bundle) -> None:
    named = {name: Graph.of(graphs / f"{name}.onnx") for name in ("fp32", "fp16")}
    replace(bundle.manifest, graphs=named, views=load(full_size)[0].views, text=None).write(graphs)
    rtx, opened = Recipe(library="tensorrt_rtx", batches=(8,)), Bundle(graphs)
    half, whole = (len(build(opened, replace(rtx, graph=graph), ("sm89",))) for graph in ("fp16", "fp32"))
    assert 100e6 < half < 0.6 * whole


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-L-14", "RN50"])
def test_others_pass_the_gate(name: str, tmp_path: Path) -> None:
    check(halved(random_model(name, tmp_path), tmp_path).parity.cosine, tmp_path)


@pytest.mark.slow
def test_the_whole_bundle_is_exported(full_size: Path, tmp_path: Path) -> None:
    manifest = export(full_size, tmp_path, None)
    assert set(manifest.graphs) == {"fp32", "fp16"}
    assert manifest.text is not None
    assert Bundle(tmp_path).manifest == manifest
