"""FP16 graphs are typed throughout, and score as the FP32 ones do, whatever the tower."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import open_clip
import pytest
import torch
from msgspec.structs import replace
from onnx import TensorProto

from benchmarks.peers import random_model
from declip_rt import Bundle
from declip_rt.backends import parity
from declip_rt.model.manifest import Calibration
from export import fp16
from export.fp16 import write_fp16
from export.graph import write_graph
from train.model import build, load, save

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {
    "vit": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
    "vit-large": {"image_size": 56, "layers": 3, "width": 128, "head_width": 64, "patch_size": 14},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
    "timm": {"timm_model_name": "convnext_atto", "timm_pool": "avg", "timm_proj": "linear", "image_size": 64},
    "sigmoid": {  # SigLIP's, under a name that asks for no tokenizer of its own
        "timm_model_name": "vit_base_patch32_siglip_256",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
        "image_size": 256,
    },
}


def graph_of(checkpoint: Path, folder: Path) -> tuple[Path, np.ndarray]:
    """The FP32 graph, and pixels for it."""
    config, model, _ = load(checkpoint)
    write_graph(model, config.views, folder / "fp32.onnx")
    return folder / "fp32.onnx", np.random.default_rng(0).integers(0, 256, (4, *config.views.shape), np.uint8)


def small(kind: str, checkpoint: Path, folder: Path) -> Path:
    """A checkpoint of a small tower of this kind, with random weights."""
    name = f"tower-{kind}"
    width = 768 if kind == "sigmoid" else 32
    (folder / f"{name}.json").write_text(
        json.dumps({"embed_dim": width, "vision_cfg": VISION[kind], "text_cfg": TEXT, "quick_gelu": kind == "vit"})
    )
    open_clip.add_model_config(folder)
    config, _, _ = load(checkpoint)
    size = VISION[kind]["image_size"]
    views = replace(config.views, size=size)
    config = replace(config, clip=replace(config.clip, model=name, steps=0), views=views)
    torch.manual_seed(0)
    save(folder / "declip.pt", config, build(config, open_clip.create_model(name)).eval(), Calibration())
    return folder / "declip.pt"


def types(graph: onnx.GraphProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(onnx.helper.make_model(graph), strict_mode=True).graph
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
    return weights | {value.name: value.type.tensor_type.elem_type for value in values}


@pytest.mark.parametrize("kind", VISION)
def test_every_kind_of_tower_passes_the_gate(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    fp32, pixels = graph_of(small(kind, checkpoint, tmp_path), tmp_path)
    found = write_fp16(fp32, tmp_path / "fp16.onnx", pixels)
    assert found.passes
    assert found.change > 0
    assert 0 < found.kept < found.nodes
    graph = onnx.load(tmp_path / "fp16.onnx").graph
    typed = types(graph)
    assert typed["pixels"] == TensorProto.UINT8
    assert {typed[name] for name in ("scores", "perceptual", "semantic")} == {TensorProto.FLOAT}
    assert graph.node[0].op_type == "Cast", "TensorRT asks for it"
    for node in graph.node:
        if node.op_type == "LayerNormalization":
            assert typed[node.input[0]] == TensorProto.FLOAT
        if node.op_type in ("Softmax", "Conv"):
            assert typed[node.input[0]] == TensorProto.FLOAT16
        if node.op_type == "Cast":
            assert typed[node.input[0]] != typed[node.output[0]], "weights are stored as they are read"


def test_ranks_are_compared_where_there_are_enough_images(bundle: Bundle, tmp_path: Path) -> None:
    images = parity.pictures(bundle.views)
    pixels = np.concatenate([images // share for share in range(1, 8)])[:50]
    found = write_fp16(bundle.graph(), tmp_path / "fp16.onnx", pixels)
    assert found.srcc is not None
    assert 0.99 < found.srcc <= 1
    assert f"lowest SRCC {found.srcc:.4f} on 50 images" in str(found)


def test_queries_are_scaled_before_they_are_multiplied(checkpoint: Path, tmp_path: Path) -> None:
    fp32, pixels = graph_of(small("vit", checkpoint, tmp_path), tmp_path)
    write_fp16(fp32, tmp_path / "fp16.onnx", pixels)
    graph = onnx.load(tmp_path / "fp16.onnx").graph
    made = {name: node for node in graph.node for name in node.output}
    products = [made[node.input[0]] for node in graph.node if node.op_type == "Softmax"]
    assert len(products) == 2
    for product in products:
        assert product.op_type == "MatMul", "nothing scales the product afterwards"
        assert "Mul" in {made[name].op_type for name in product.input}


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-L-14", "RN50"])
def test_models_of_full_size_pass_the_gate(name: str, tmp_path: Path) -> None:
    fp32, pixels = graph_of(random_model(name, tmp_path), tmp_path)
    found = write_fp16(fp32, tmp_path / "fp16.onnx", pixels[:1])
    assert found.cosine > 0.9999
    assert (tmp_path / "fp16.onnx").stat().st_size < 0.55 * fp32.stat().st_size


def test_a_graph_that_differs_is_not_written(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fp32, pixels = graph_of(small("vit", checkpoint, tmp_path), tmp_path)
    monkeypatch.setattr(fp16, "MOST_CHANGE", 0.0)
    assert not write_fp16(fp32, tmp_path / "fp16.onnx", pixels).passes
    assert not (tmp_path / "fp16.onnx").exists()


@pytest.mark.parametrize(("weight", "stored"), [(32, TensorProto.FLOAT16), (1e5, TensorProto.FLOAT)])
def test_what_fp16_cannot_hold_stays_in_fp32(weight: float, stored: int, tmp_path: Path) -> None:
    """Values of 100,000 or more on the way to outputs of 1, by weights that FP16 holds or not."""
    make = onnx.helper.make_node
    nodes = [
        make("Cast", ["pixels"], ["cast"], to=TensorProto.FLOAT, name="cast"),
        make("Squeeze", ["cast", "one"], ["view"], name="view"),
        make("Transpose", ["view"], ["planes"], perm=[0, 3, 1, 2], name="planes"),
        make("Conv", ["planes", "weight"], ["high"], name="conv"),
        make("Mul", ["high", "small"], ["low"], name="low"),
        make("ReduceMean", ["low", "axes"], ["feature"], keepdims=0, name="mean"),
        make("ReduceL2", ["feature", "one"], ["norm"], name="norm"),
        *(make("Div", ["feature", "norm"], [name], name=name) for name in ("scores", "perceptual", "semantic")),
    ]
    filled = np.full((4, 3, 2, 2), weight, np.float32)
    constants = {"weight": filled, "small": np.float32(1e-5), "one": np.array([1]), "axes": np.array([2, 3])}
    outputs = [
        onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4])
        for name in ("scores", "perceptual", "semantic")
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "large",
        [onnx.helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 1, 8, 8, 3])],
        outputs,
        [onnx.numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "fp32.onnx")
    pixels = np.random.default_rng(0).integers(200, 256, (3, 1, 8, 8, 3), np.uint8)
    found = write_fp16(tmp_path / "fp32.onnx", tmp_path / "fp16.onnx", pixels)
    assert found.cosine > 0.999
    graph = onnx.load(tmp_path / "fp16.onnx").graph
    (convolution,) = (node for node in graph.node if node.op_type == "Conv")
    assert types(graph)[convolution.output[0]] == TensorProto.FLOAT
    assert [tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 4] == [stored]
