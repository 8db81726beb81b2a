"""The exported graph keeps the contract and gives torch's scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export.graph import TOLERANCE, write_graph
from tests.export.conftest import Exported
from train import clip
from train.config import Config
from train.model import ATTRIBUTES, build, load

EMBEDDED = Path(__file__).parents[2] / "train" / "configs" / "declip-tiny.toml"


@pytest.fixture(scope="module")
def graph(exported: Exported) -> Path:
    return exported.graph


def test_names_types_and_shapes(graph: Path) -> None:
    session = onnxruntime.InferenceSession(str(graph))
    (pixels,) = session.get_inputs()
    assert (pixels.name, pixels.type, pixels.shape[1:]) == ("pixels", "tensor(uint8)", [2, 64, 64, 3])
    assert isinstance(pixels.shape[0], str), "the batch is free"
    outputs = {output.name: (output.type, output.shape[1:]) for output in session.get_outputs()}
    float32 = "tensor(float)"
    assert outputs == {
        "scores": (float32, [2 + len(ATTRIBUTES)]),
        "perceptual": (float32, [32]),
        "semantic": (float32, [32]),
    }


def test_pixels_are_cast_before_anything_else(graph: Path) -> None:
    users = [node.op_type for node in onnx.load(graph).graph.node if "pixels" in node.input]
    assert users == ["Cast"]


@pytest.mark.parametrize("n", [1, 3, 8])
def test_scores_are_torchs_at_any_batch(graph: Path, checkpoint: Path, n: int) -> None:
    config, model, _ = load(checkpoint)
    pixels = np.random.default_rng(n).integers(0, 256, (n, *config.views.shape), np.uint8)
    ours = onnxruntime.InferenceSession(str(graph)).run(None, {"pixels": pixels})
    with torch.no_grad():
        theirs = model(torch.from_numpy(pixels))
    for mine, other in zip(ours, theirs, strict=True):
        assert np.abs(mine - other.numpy()).max() <= TOLERANCE


def test_the_embedded_models_tower_takes_any_batch(tmp_path: Path) -> None:
    config = Config.read(EMBEDDED)
    model = build(config, clip.load(config.clip, EMBEDDED.parent))
    assert write_graph(model, config.views, tmp_path / "fp32.onnx") <= TOLERANCE  # of 5 photos, by an example of 2


def test_nothing_in_it_tells_of_the_machine_that_exported_it(graph: Path) -> None:
    assert str(Path(__file__).parents[2]).encode() not in graph.read_bytes()
    assert b"stack_trace" not in graph.read_bytes()
