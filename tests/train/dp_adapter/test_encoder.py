"""Features are those of the scorer, and the coarse one is what its projectors read."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from declip_rt import Bundle, Scorer
from tests.conftest import picture
from train.dp_adapter.encoder import Encoder
from train.model import ResMLP


def pictures() -> list[np.ndarray]:
    return [picture(seed, 64, 48) for seed in range(10)]


def test_features_and_scores_are_the_scorers(bundle: Bundle, scorer: Scorer):
    found = Encoder(bundle)(pictures())
    for place, (embedding, score) in enumerate(
        zip(scorer.embed_many(pictures()), scorer.score_many(pictures()), strict=True)
    ):
        assert found["perceptual"][place].numpy() @ embedding.perceptual == pytest.approx(1, abs=1e-3)
        assert found["semantic"][place].numpy() @ embedding.semantic == pytest.approx(1, abs=1e-3)
        assert float(found["scores"][place, 0]) == pytest.approx(score.technical, abs=0.01)


def test_the_projectors_make_the_features_of_the_coarse_one(bundle: Bundle):
    found = Encoder(bundle)(pictures())
    initializers = onnx.load(bundle.graph()).graph.initializer
    weights = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in initializers}
    for name in ("perceptual", "semantic"):
        own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.mlp")}
        projector = ResMLP(768, len(own["mlp.1.bias"]))
        projector.load_state_dict(own)
        with torch.no_grad():
            assert torch.allclose(projector(found["coarse"]), found[name], atol=1e-4)
