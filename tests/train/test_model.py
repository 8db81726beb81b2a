"""The model keeps the graph's contract, and a checkpoint is the whole model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from declip_rt import ConfigError
from train.model import ATTRIBUTES, AttributeHeads, ResMLP, load, save


def test_a_fresh_projector_is_the_identity() -> None:
    x = F.normalize(torch.randn(4, 16), dim=-1)
    assert torch.allclose(ResMLP(16, 32)(x), x, atol=1e-6)


def test_outputs_keep_the_contract(checkpoint: Path) -> None:
    config, model, calibration = load(checkpoint)
    pixels = torch.randint(0, 256, (3, *config.views.shape), dtype=torch.uint8)
    scores, perceptual, semantic = model(pixels)
    assert scores.shape == (3, 2 + len(ATTRIBUTES))
    assert ((scores >= 0) & (scores <= 1)).all()
    for feature in (perceptual, semantic):
        assert torch.allclose(feature.norm(dim=1), torch.ones(3), atol=1e-5)
    assert set(calibration.percentiles) == {"technical", "aesthetic", *ATTRIBUTES}


def test_the_coarse_feature_is_the_mean_of_open_clips_own(checkpoint: Path) -> None:
    from train.clip import normalise

    config, model, _ = load(checkpoint)
    pixels = torch.randint(0, 256, (2, *config.views.shape), dtype=torch.uint8)
    views = [F.normalize(model.clip.encode_image(normalise(pixels[:, v], model.clip)), dim=-1) for v in range(2)]
    assert torch.allclose(model.coarse(pixels), F.normalize(sum(views), dim=-1), atol=1e-5)


def test_a_checkpoint_round_trip_changes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    config, model, calibration = load(checkpoint)
    save(tmp_path / "again.pt", config, model, calibration)
    again_config, again, again_calibration = load(tmp_path / "again.pt")
    assert (again_config, again_calibration) == (config, calibration)
    pixels = torch.randint(0, 256, (1, *config.views.shape), dtype=torch.uint8)
    assert all(torch.equal(a, b) for a, b in zip(model(pixels), again(pixels), strict=True))


def test_attribute_heads_spread_the_reference_over_their_range(checkpoint: Path) -> None:
    config, model, _ = load(checkpoint)
    reference = F.normalize(torch.randn(200, 32), dim=-1)
    heads = AttributeHeads(32)
    heads.fit(model.clip, config.clip.model, reference)
    values = heads(reference)
    assert torch.allclose(values.median(0).values, torch.full((len(ATTRIBUTES),), 0.5), atol=0.02)
    assert (values.quantile(0.9, dim=0) > 0.75).all()
    assert (values.quantile(0.1, dim=0) < 0.25).all()


@pytest.mark.parametrize("content", [b"no", b""])
def test_another_file_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ConfigError, match="not a checkpoint"):
        load(tmp_path / "x.pt")
