"""Ladders of compression: the pictures are those that a user would save, and the figures say what the scores do."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from declip_rt import Scorer
from declip_rt.model.manifest import Estimate
from tests.training import Recipe
from train import ladder
from train.i2t.lossless import lossless
from train.i2t.manifest import Images
from train.ladder import STEPS, Ladder

FALLING = np.linspace(0.8, 0.1, len(STEPS))
PHOTOS = np.random.default_rng(0).uniform(-0.1, 0.1, (30, 1))


def made(column: int | None = None, change: float = 0.0) -> Ladder:
    scores = FALLING + PHOTOS
    if column is not None:
        scores[:, column] += change
    return Ladder("JPEG", scores)


def test_scores_that_fall() -> None:
    _, rise = made().rise()
    assert rise.value == pytest.approx(-0.07)
    assert rise.high < 0
    assert made().order() == Estimate(1, 1, 1)
    assert [mean.value for mean in made().means()] == pytest.approx(FALLING + PHOTOS.mean())


def test_a_step_up_is_found() -> None:
    where, rise = made(STEPS.index("q90"), 0.1).rise()
    assert where == "q95 to q90"
    assert rise.value == pytest.approx(0.03)
    assert made(STEPS.index("q90"), 0.1).order().value < 1


def test_what_mild_compression_takes() -> None:
    climbed = made()
    climbed.scores[:15, STEPS.index("q95")] = climbed.scores[:15, 0] + 0.2
    climbed.scores[15:, STEPS.index("q95")] = climbed.scores[15:, 0] - 0.2
    taken, spread = climbed.mild()
    assert taken.value == pytest.approx(0)
    assert spread.value == pytest.approx(0.2), "ups and downs do not cancel out"


def test_every_step_is_the_picture_saved_with_that_quality(
    recipe: Recipe, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.i2t.lossless.LEAST", 130)
    monkeypatch.setattr(ladder, "CODECS", {"JPEG": "jpeg", "WebP": "webp"})
    jpeg, webp = ladder.climb(scorer, recipe.data)
    rows = lossless(recipe.data, "test")
    assert jpeg.scores.shape == webp.scores.shape == (len(rows), len(STEPS))
    assert (jpeg.scores[:, 0] == webp.scores[:, 0]).all()
    image, buffer = Image.fromarray(Images(recipe.data).open(rows[1])), io.BytesIO()
    assert jpeg.scores[1, 0] == pytest.approx(scorer.score(np.asarray(image)).technical, abs=1e-3)
    image.save(buffer, "JPEG", quality=10)
    saved = np.asarray(Image.open(buffer))
    assert jpeg.scores[1, STEPS.index("q10")] == pytest.approx(scorer.score(saved).technical, abs=1e-3)


def test_without_such_pictures_there_is_no_ladder(recipe: Recipe, scorer: Scorer) -> None:
    assert ladder.climb(scorer, recipe.data) == []


def test_the_table() -> None:
    table = ladder.table([made(), Ladder("WebP", made().scores - 0.1), Ladder("AVIF", made().scores)])
    assert [row[0] for row in table.rows[: len(STEPS)]] == list(STEPS)
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert table.rows[0][2].value == pytest.approx(table.rows[0][1].value - 0.1)  # type: ignore[union-attr]
