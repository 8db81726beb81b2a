"""Every image with texts gets verdicts, and a rated photo is judged by a head that was not fit to it."""

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


def test_verdicts_are_among_the_texts(recipe: Recipe, checkpoint: Path, tmp_path: Path) -> None:
    config, model, _ = load(checkpoint)
    encode = Encoder(model, Images(recipe.data), config.views, tmp_path, workers=0)
    shown = [msgspec.structs.replace(row, semantic=("a photo",)) for row in rows(recipe.data, "mos", "train")]
    given = [*shown, Row("pristine/images/000.jpg", ("a dark photo",)), Row("pristine/images/001.jpg")]
    judged = judge(given, rated(encode, config.features, recipe.data, 7), encode, config)
    for row in judged[:-1]:
        for words in (QUALITY_WORDS, BEAUTY_WORDS):
            assert {phrase for level in words for phrase in level} & set(row.perceptual)
    assert judged[-2].perceptual[0] == "a dark photo"
    assert judged[-2].scores.keys() == {"mos", "beauty"}, "an image that nobody rated has scores, too"
    assert judged[-1] == given[-1], "a row without texts is not judged"
    for row, before in zip(judged, shown, strict=False):
        assert row.scores["mos"] != before.scores["mos"]
        assert 0 <= row.scores["mos"] <= 100


def test_what_was_learned_by_heart_is_not_said(recipe: Recipe, checkpoint: Path) -> None:
    """Scores that features do not tell are known of the photos that a head was fit to, and of no others."""
    config, rng = load(checkpoint)[0], torch.Generator().manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(40, 1, 64, generator=rng), dim=-1)
    scores = torch.rand(40, generator=rng)
    some = Scored("mos", "technical", features, scores, tuple(f"{i}.jpg" for i in range(40)))
    empty = Rated((some,), features.expand(-1, 6, -1), features.expand(-1, 11, -1), features[:, 0], "", None)
    known = heads.QualityHead(64)
    heads.fit(known, [some], empty, msgspec.structs.replace(config.heads, rank_weight=0.0, ladder_weight=0.0), 1e-6)
    assert (known(features)[:, 0] - scores).abs().mean() < 0.02
    unseen = heads.unseen(some, empty, config.heads, 1e-6)
    assert set(unseen) == set(some.images)
    apart = torch.tensor([unseen[name] for name in some.images]) - scores
    assert apart.abs().mean() > 0.15


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
