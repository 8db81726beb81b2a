"""Images that nobody rated get verdicts; rated photos do not, which would be learned by heart."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from tests.training import Recipe
from train import heads
from train.features import Encoder
from train.i2t.manifest import Images, Row
from train.judge import judge
from train.model import load
from train.rated import Rated, Scored, rated, rows
from train.verdicts import BEAUTY_WORDS, QUALITY_WORDS


def test_images_that_nobody_rated_get_verdicts(recipe: Recipe, checkpoint: Path, tmp_path: Path) -> None:
    config, model, _ = load(checkpoint)
    encode = Encoder(model, Images(recipe.data), config.views, tmp_path, workers=0)
    shown = [msgspec.structs.replace(row, semantic=("a photo",)) for row in rows(recipe.data, "mos", "train")]
    others = [Row(f"pristine/images/{i:03}.jpg", ("a dark photo",)) for i in range(3)]
    given = [*shown, *others, Row("pristine/images/003.jpg")]
    judged = judge(given, rated(encode, config.features, recipe.data, 7), encode, config)
    for row in judged[len(shown) : -1]:
        assert row.perceptual[0] == "a dark photo"
        for words in (QUALITY_WORDS, BEAUTY_WORDS):
            assert {phrase for level in words for phrase in level} & set(row.perceptual)
        assert row.scores.keys() == {"mos", "beauty"}
        assert 0 <= row.scores["mos"] <= 100
        assert 1 <= row.scores["beauty"] <= 7
    for row, before in zip(judged, shown, strict=False):
        assert row == msgspec.structs.replace(before, scores={}), "a rated photo is not judged, and keeps no score"
    assert judged[-1] == given[-1], "a row without texts is not judged"


def test_a_penalty_is_chosen_by_photos_that_the_head_does_not_know(checkpoint: Path) -> None:
    """Where features tell nothing but noise, the heaviest penalty is at least as good as the lightest."""
    config, rng = load(checkpoint)[0], torch.Generator().manual_seed(1)
    quality = torch.rand(60, generator=rng)
    noise = 3 * torch.randn(60, 1, 48, generator=rng)
    features = torch.nn.functional.normalize(torch.cat([2 * quality[:, None, None] - 1, noise], 2), dim=-1)
    some = Scored("beauty", "aesthetic", features, quality)
    made = Rated((some,), features.expand(-1, 6, -1), features.expand(-1, 11, -1), features[:, 0], "", None)
    chosen = heads.choose("aesthetic", [some], made, config.heads)
    assert chosen > heads.PENALTIES[0]
    few = Scored("beauty", "aesthetic", features[:3], quality[:3])
    assert heads.choose("aesthetic", [few], made, config.heads) == heads.USUAL


def test_a_head_without_ratings_reads_prompts(checkpoint: Path) -> None:
    axis, rng = torch.zeros(32), torch.Generator().manual_seed(2)
    axis[3] = 0.5
    reference = torch.nn.functional.normalize(torch.randn(200, 32, generator=rng), dim=-1)
    head = heads.QualityHead(32)
    head.lean(axis, reference)
    with torch.no_grad():
        read = head(reference)
    assert head.zero_shot
    assert read.median() == pytest.approx(0.5, abs=1e-4)
    assert (read.argsort() == reference[:, 3].argsort()).all()
    assert 0.1 < read.quantile(0.1) < read.quantile(0.9) < 0.9
