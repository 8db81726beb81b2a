"""Batches are what a resumed run needs them to be: functions of the seed and the step."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tests.training import Recipe
from train.batches import Batches
from train.config import Config


@pytest.fixture(scope="module")
def batches(recipe: Recipe) -> Batches:
    return Batches(recipe.data, Config.read(recipe.config).clip, seed=1)


def test_a_batch_has_its_parts(batches: Batches) -> None:
    batch = batches[0]
    assert batch.pixels.shape == (3 * 2 + 2 + 2, 48, 48, 3)
    assert batch.pixels.dtype == np.uint8
    assert len(batch.captions) == 6
    assert batch.mos.shape == batch.beauty.shape == (2, 5)
    assert np.allclose(batch.mos.sum(1), 1)


def test_no_scored_photos_is_a_choice(recipe: Recipe) -> None:
    config = msgspec.structs.replace(Config.read(recipe.config).clip, mos_photos=0, beauty_photos=0)
    batch = Batches(recipe.data, config, seed=1)[0]
    assert len(batch.pixels) == len(batch.captions) == 6
    assert batch.mos.shape == batch.beauty.shape == (0, 5)


def test_a_step_gives_the_same_batch_each_time(batches: Batches, recipe: Recipe) -> None:
    other = Batches(recipe.data, Config.read(recipe.config).clip, seed=1)
    other[7]
    assert np.array_equal(batches[2].pixels, other[2].pixels)
    assert batches[2].captions == other[2].captions


def test_steps_and_seeds_differ(batches: Batches, recipe: Recipe) -> None:
    other = Batches(recipe.data, Config.read(recipe.config).clip, seed=2)
    assert not np.array_equal(batches[2].pixels, batches[3].pixels)
    assert not np.array_equal(batches[2].pixels, other[2].pixels)
