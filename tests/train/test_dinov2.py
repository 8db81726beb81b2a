"""DINOv2 comes out of a foreign graph as the network that timm knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from onnx import TensorProto, helper, numpy_helper
from timm.models import VisionTransformer

from declip_rt import ConfigError
from train import dinov2
from train.pretrained import PACKAGES


@pytest.fixture
def small() -> VisionTransformer:
    torch.manual_seed(0)
    network = VisionTransformer(28, 14, num_classes=0, embed_dim=8, depth=2, num_heads=2, init_values=0.1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    return network


@pytest.fixture
def graph(small: VisionTransformer, tmp_path: Path) -> Path:
    """A graph that holds the weights of `small` under the names, and in the places, that the package has."""
    weights = {name: tensor.detach().numpy() for name, tensor in small.state_dict().items()}
    constants = {f"backbone.{theirs}": weights[ours] for ours, theirs in dinov2.STEM.items()}
    constants |= {"first": weights["pos_embed"][:, :1], "others": weights["pos_embed"][:, 1:]}
    nodes = [helper.make_node("Concat", ["first", "others"], [dinov2.POSITIONS], axis=1)]
    for i in range(2):
        theirs, ours = f"backbone.encoder.layer.{i}", f"blocks.{i}"
        constants |= {f"{theirs}.{name}": weights[f"{ours}.{vector}"] for vector, name in dinov2.VECTORS.items()}
        for layer, parts in dinov2.LAYERS.items():
            matrices = np.split(weights[f"{ours}.{layer}.weight"], len(parts))
            biases = np.split(weights[f"{ours}.{layer}.bias"], len(parts))
            for part, matrix, bias in zip(parts, matrices, biases, strict=True):
                name = f"{theirs}.{part}.bias"
                constants |= {f"matrix {name}": matrix.T, name: bias}
                operands = [name, f"product {name}"]
                nodes += [
                    helper.make_node("MatMul", [f"input {matrix.shape[1]}", f"matrix {name}"], operands[1:]),
                    helper.make_node("Add", operands[:: 1 - 2 * i], [f"sum {name}"]),  # in either order
                ]
    constants |= {f"input {width}": np.zeros((1, width), np.float32) for width in (8, 32)}
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 28, 28])],
        [helper.make_tensor_value_info(dinov2.POSITIONS, TensorProto.FLOAT, [1, 5, 8])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_all_weights_are_found(graph: Path, small: VisionTransformer) -> None:
    found, expected = dinov2.read(graph), small.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name


def test_other_weights_are_refused(graph: Path) -> None:
    with pytest.raises(ConfigError, match=r"small\.onnx does not hold the weights of DINOv2's ViT-S/14"):
        dinov2.load(graph)


def test_timm_makes_it_by_its_name() -> None:
    network = timm.create_model("packaged_dinov2_small", num_classes=0)
    assert network.forward_features(torch.zeros(1, 3, dinov2.SIZE, dinov2.SIZE)).shape == (1, 257, 384)
    with pytest.raises(ConfigError, match="set num_classes to 0"):
        timm.create_model("packaged_dinov2_small", num_classes=10)


@torch.no_grad()
def test_the_packages_tokens_are_those_of_its_own_graph() -> None:
    try:
        path = PACKAGES["dinov2_small"].path()
    except ConfigError as missing:
        pytest.skip(f"DINOv2's weights are not compared with their graph: {missing}")
    model = onnx.load(path)
    model.graph.output.append(helper.make_empty_tensor_value_info(dinov2.TOKENS))
    pixels = np.random.default_rng(0).normal(size=(2, 3, dinov2.SIZE, dinov2.SIZE)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    theirs = session.run([dinov2.TOKENS], {"input_image": pixels})[0]
    ours = timm.create_model("packaged_dinov2_small", pretrained=True).forward_features(torch.from_numpy(pixels))
    assert np.abs(ours.numpy() - theirs).max() < 1e-4
    assert theirs.std() > 0.5
