"""The INT8 graph scores as the FP32 one does, whatever else is in the batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import open_clip
import pytest
import torch
from msgspec.structs import replace

from declip_rt import Bundle, BundleError, ConfigError, Scorer
from declip_rt.bundle import Calibration
from export.__main__ import export
from export.graph import write_graph
from export.int8 import layer_errors, matrices, write_int8
from tests.conftest import encoded, picture
from train.model import build, load, save

VIT = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 256, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def vit(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a small ViT, its heads drawn at random."""
    folder = tmp_path_factory.mktemp("vit")
    (folder / "test-vit.json").write_text(json.dumps(VIT))
    open_clip.add_model_config(folder)
    config, _, _ = load(checkpoint)
    config = replace(config, clip=replace(config.clip, model="test-vit", steps=0))
    torch.manual_seed(1)
    model = build(config, open_clip.create_model("test-vit")).eval()
    for parameter in model.quality.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    torch.nn.init.normal_(model.attributes.axes)
    save(folder / "declip.pt", config, model, Calibration())
    return folder / "declip.pt"


@pytest.fixture(scope="module")
def graphs(vit: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    config, model, _ = load(vit)
    write_graph(model, config.views, folder / "fp32.onnx")
    assert write_int8(folder / "fp32.onnx", folder / "int8.onnx") == len(list(matrices(folder / "fp32.onnx")))
    return folder / "fp32.onnx", folder / "int8.onnx"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(60):
        (folder / f"{i:02}.png").write_bytes(encoded(picture(i, 90, 80), "PNG"))
    return folder


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
    assert write_int8(graphs[0], tmp_path / "int8.onnx", frozenset([kept])) == len(errors) - 1
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


def test_a_model_without_large_matrices_has_none(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    manifest = export(checkpoint, tmp_path / "bundle", None, photos)
    assert list(manifest.graphs) == ["fp32"]
    assert not (tmp_path / "bundle" / "int8.onnx").exists()


def test_a_proven_graph_goes_into_the_bundle_and_auto_takes_it(
    vit: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("declip_rt.bundle.LEAST_SRCC", -1.0)  # an untrained model's scores hardly move: ranks are noise
    manifest = export(vit, tmp_path / "bundle", None, photos)
    parity = manifest.graphs["int8"].parity
    assert parity is not None
    assert parity.is_proven
    assert parity.n == 60
    assert f"SRCC with fp32 {parity.srcc:.4f}" in capsys.readouterr().out
    with Scorer(tmp_path / "bundle", "cpu") as ours, Scorer(tmp_path / "bundle", "cpu", precision="fp32") as reference:
        assert "int8" in ours.device
        assert "fp32" in reference.device
        change = abs(ours.score(picture()).technical - reference.score(picture()).technical)
    assert 0 < change <= 0.02


def test_an_unproven_graph_is_left_out(
    vit: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(export(vit, tmp_path / "bundle", None, photos).graphs) == ["fp32"]
    assert "left out: SRCC must be" in capsys.readouterr().out
    assert not (tmp_path / "bundle" / "int8.onnx").exists()
    Bundle(tmp_path / "bundle")
    with pytest.raises(BundleError, match="has no int8 graph"):
        Scorer(tmp_path / "bundle", "cpu", precision="int8")


def test_few_photos_prove_nothing(vit: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(encoded(picture(), "PNG"))
    with pytest.raises(ConfigError, match="1 photos; give 50 or more"):
        export(vit, tmp_path / "bundle", None, tmp_path / "photos")
