"""Writes `tokens.onnx`, from features to tokens without torch: `python -m train.dp_adapter.export ADAPTER`.

Inputs `perceptual` and `semantic` (N, D) as the bundle gives them, outputs `perceptual_tokens` and `semantic_tokens`
(N, 4, C). A UNet that takes tokens needs no DeCLIP, and a server of tokens no UNet.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from msgspec.structs import replace
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError, DeclipError
from declip_rt.model.manifest import File
from train.dp_adapter.card import BRANCHES, TOKENS, Card

NAME = "tokens.onnx"
EPSILON = 1e-5  # of the LayerNorm in diffusers' ImageProjection
OPSET, IR = 17, 8  # the first with LayerNormalization; any ONNX Runtime since 2022 reads them
LIMIT = 1e-5  # of the largest difference, where tokens are near 1
TRIALS = 16  # features that are compared

Weights = dict[str, NDArray[np.float32]]


def export(folder: Path) -> float:
    """Writes tokens.onnx into an adapter's folder and its card; returns the largest difference from the projections.

    Raises ConfigError where the folder is no adapter's, or the difference exceeds LIMIT.
    """
    card = Card.read(folder)
    weights = {
        name: load_file(folder / branch.weights.file) for name, branch in zip(BRANCHES, card.branches, strict=True)
    }
    graph = _graph(weights).SerializeToString()
    difference = _compare(graph, weights)
    if not difference <= LIMIT:
        raise ConfigError(
            f"the tokens of {NAME} differ by {difference:.1e} from those of {folder}, where {LIMIT:.0e} is the most; "
            "its weights may be damaged: train the adapter again"
        )
    write_whole(folder / NAME, graph)
    replace(card, tokens=File.of(folder / NAME)).write(folder)
    return difference


def _graph(weights: dict[str, Weights]) -> onnx.ModelProto:
    nodes, constants, inputs, outputs = [], [], [], []
    for name, tensors in weights.items():
        weight = tensors["image_proj.proj.weight"]
        width = len(weight) // TOKENS
        held = {key: tensors[f"image_proj.{key}"] for key in ("proj.weight", "proj.bias", "norm.weight", "norm.bias")}
        held["shape"] = np.array([-1, TOKENS, width])
        constants += [numpy_helper.from_array(value, f"{name}.{key}") for key, value in held.items()]
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", weight.shape[1]]))
        outputs.append(helper.make_tensor_value_info(f"{name}_tokens", TensorProto.FLOAT, ["N", TOKENS, width]))
        given, flat, tokens = (f"{name}.{key}" for key in ("proj.weight", "flat", "tokens"))
        norm = [tokens, f"{name}.norm.weight", f"{name}.norm.bias"]
        nodes += [
            helper.make_node("Gemm", [name, given, f"{name}.proj.bias"], [flat], transB=1),
            helper.make_node("Reshape", [flat, f"{name}.shape"], [tokens]),
            helper.make_node("LayerNormalization", norm, [f"{name}_tokens"], axis=-1, epsilon=EPSILON),
        ]
    graph = helper.make_graph(nodes, "tokens", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model, full_check=True)
    return model


def _compare(graph: bytes, weights: dict[str, Weights]) -> float:
    """The largest difference from the projections in double precision, of features and of the zeros for none."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    sizes = {name: tensors["image_proj.proj.weight"].shape[1] for name, tensors in weights.items()}
    drawn = {name: rng.normal(size=(TRIALS, size)) for name, size in sizes.items()}
    features = {name: (each / np.linalg.norm(each, axis=1, keepdims=True)).astype("f4") for name, each in drawn.items()}
    for each in features.values():
        each[0] = 0
    ours = session.run([f"{name}_tokens" for name in features], features)
    theirs = [_tokens(features[name], tensors) for name, tensors in weights.items()]
    return float(np.max([np.abs(one - other).max() for one, other in zip(ours, theirs, strict=True)]))  # NaN counts


def _tokens(features: NDArray[np.float32], tensors: Weights) -> NDArray[np.float64]:
    weight, bias, scale, shift = (
        tensors[f"image_proj.{key}"].astype(np.float64)
        for key in ("proj.weight", "proj.bias", "norm.weight", "norm.bias")
    )
    flat = (features @ weight.T + bias).reshape(len(features), TOKENS, -1)
    centred = flat - flat.mean(-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + EPSILON) * scale + shift


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.dp_adapter.export", description=__doc__)
    parser.add_argument(
        "adapter", type=Path, metavar="ADAPTER", help="the folder that python -m train.dp_adapter wrote"
    )
    options = parser.parse_args()
    try:
        difference = export(options.adapter)
    except DeclipError as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    print(f"{options.adapter / NAME}: largest difference from the projections {difference:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
