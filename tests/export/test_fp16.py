"""FP16 graphs are typed throughout, and score as the FP32 ones do, whatever the tower."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from msgspec.structs import replace
from onnx import TensorProto
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer

from declip_rt import Bundle
from declip_rt.backends import parity
from declip_rt.model.manifest import LIMITS, Limits
from export.fp16 import write_fp16
from export.graph import write_graph
from tests.training import TEXT, Recipe, once
from train import clip
from train.config import Config
from train.model import build

Small = Callable[[str], tuple[Path, np.ndarray]]
VISION = {
    "vit": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
    "vit-large": {"image_size": 56, "layers": 3, "width": 128, "head_width": 64, "patch_size": 14},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
    "timm": {"timm_model_name": "convnext_atto", "timm_pool": "avg", "timm_proj": "linear", "image_size": 64},
    "sigmoid": {  # SigLIP's
        "timm_model_name": "vit_small_siglip_test",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
        "image_size": 64,
    },
}


@register_model
def vit_small_siglip_test(
    pretrained: bool = False, num_classes: int = 0, global_pool: str = "map", **_: object
) -> VisionTransformer:
    """timm's vit_base_patch32_siglip_256, with two layers of 128 channels."""
    return VisionTransformer(
        img_size=64,
        patch_size=16,
        embed_dim=128,
        depth=2,
        num_heads=2,
        class_token=False,
        global_pool=global_pool,
        num_classes=num_classes,
        act_layer="gelu_tanh",
    )


@pytest.fixture(scope="session")
def small(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The FP32 graph of a small tower of a kind, with random weights, and pixels for it."""

    def make(kind: str, folder: Path) -> None:
        name, width = f"tower-{kind}", 128 if kind == "sigmoid" else 32
        shape = {"embed_dim": width, "vision_cfg": VISION[kind], "text_cfg": TEXT, "quick_gelu": kind == "vit"}
        (folder / f"{name}.json").write_text(json.dumps(shape))
        config = Config.read(recipe.config)
        views = replace(config.views, size=VISION[kind]["image_size"])
        config = replace(config, clip=replace(config.clip, model=name, steps=0), views=views)
        torch.manual_seed(0)
        write_graph(build(config, clip.load(config.clip, folder)).eval(), views, folder / "fp32.onnx")

    def graph(kind: str) -> tuple[Path, np.ndarray]:
        path = once(tmp_path_factory, f"small-{kind}", partial(make, kind)) / "fp32.onnx"
        shape = onnxruntime.InferenceSession(path).get_inputs()[0].shape[1:]
        return path, np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)

    return graph


def types(graph: onnx.GraphProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(onnx.helper.make_model(graph), strict_mode=True).graph
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
    return weights | {value.name: value.type.tensor_type.elem_type for value in values}


@pytest.mark.parametrize("kind", VISION)
def test_every_kind_of_tower_passes_the_gate(kind: str, small: Small, tmp_path: Path) -> None:
    fp32, pixels = small(kind)
    found = write_fp16(fp32, tmp_path / "fp16.onnx", pixels)
    assert found.passes
    assert found.parity.change > 0
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
    before = sorted(bundle.path.iterdir())
    found = write_fp16(bundle.graph(), tmp_path / "fp16.onnx", pixels)
    assert sorted(bundle.path.iterdir()) == before
    assert found.parity.srcc is not None
    assert 0.99 < found.parity.srcc <= 1
    assert f"lowest SRCC {found.parity.srcc:.4f} on 50 images" in str(found)


def test_queries_are_scaled_before_they_are_multiplied(small: Small, tmp_path: Path) -> None:
    fp32, pixels = small("vit")
    write_fp16(fp32, tmp_path / "fp16.onnx", pixels)
    graph = onnx.load(tmp_path / "fp16.onnx").graph
    made = {name: node for node in graph.node for name in node.output}
    products = [made[node.input[0]] for node in graph.node if node.op_type == "Softmax"]
    assert len(products) == 2
    for product in products:
        assert product.op_type == "MatMul", "nothing scales the product afterwards"
        assert "Mul" in {made[name].op_type for name in product.input}


def test_a_graph_that_differs_is_not_written(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fp32, pixels = small("vit")
    monkeypatch.setitem(LIMITS, "fp16", Limits(change=0.0))
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
    assert found.parity.cosine > 0.999
    graph = onnx.load(tmp_path / "fp16.onnx").graph
    (convolution,) = (node for node in graph.node if node.op_type == "Conv")
    assert types(graph)[convolution.output[0]] == TensorProto.FLOAT
    assert [tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 4] == [stored]
