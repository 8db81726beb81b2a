"""The embedded tower's statistics tell faults apart, and its features do not depend on a photo's neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from tests.conftest import picture
from train import tower
from train.distortions import Distortion, distort


def statistics(rgb: np.ndarray) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (tower.OPENAI_DATASET_MEAN, tower.OPENAI_DATASET_STD))
    pixels = (torch.from_numpy(rgb.copy()).permute(2, 0, 1) / 255 - mean) / std
    return tower.SceneStatistics()(pixels[None])[0]


def photo(side: int = 160) -> np.ndarray:
    return np.tile(picture(), (4, 4, 1))[:side, :side]


def test_statistics_are_as_many_as_they_say_and_finite() -> None:
    for rgb in (photo(), np.zeros((160, 160, 3), np.uint8), np.full((64, 200, 3), 255, np.uint8)):
        found = statistics(rgb)
        assert found.shape == (tower.SceneStatistics.COUNT,)
        assert found.isfinite().all()


def test_mscn_coefficients_have_no_mean_and_little_deviation() -> None:
    plane = torch.rand(1, 1, 96, 96) * 255
    mscn, deviation = tower._normalise(plane)
    assert abs(mscn.mean()) < 0.02
    assert 0.7 < mscn.std() < 1.2
    assert (deviation.exp().mean() - plane.std()).abs() < 10


def test_smoothing_is_a_gaussian_mean() -> None:
    assert torch.allclose(tower._smooth(torch.full((1, 1, 20, 30), 7.0)), torch.tensor(7.0))
    point = torch.zeros(1, 1, 21, 21)
    point[..., 10, 10] = 1
    spread = tower._smooth(point)[0, 0]
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(spread, spread.T)
    assert spread[10, 11] / spread[10, 10] == pytest.approx(np.exp(-1 / (2 * tower.SIGMA**2)), rel=1e-4)


def test_blockiness_sees_the_grid_of_jpeg() -> None:
    rgb, rng = photo(), np.random.default_rng(0)
    blocky = [statistics(distort(rgb, Distortion("jpeg", s), rng))[-2:].mean() for s in (1.0, 3.0, 5.0)]
    assert blocky[2] > blocky[0]
    assert blocky[2] > statistics(rgb)[-2:].mean() + 0.1


def test_features_do_not_depend_on_neighbours() -> None:
    torch.manual_seed(0)
    model = timm.create_model("scenic_mobilenetv4_small", num_classes=16).eval()
    pixels = torch.randn(3, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(model(pixels)[1], model(pixels[1:2])[0], atol=1e-5)
