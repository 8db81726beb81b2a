"""The synthetic builder's rows are reproducible, render, and say what was done to the photo."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training import Recipe
from train import texts
from train.i2t.manifest import Images, Row, faults, read
from train.i2t.synthetic import build, draw, main
from train.photos import photos
from train.words import FAULTS

WORDS = {kind: (*words.adjectives, *words.states, *words.nouns) for kind, words in FAULTS.items()}


@pytest.fixture(scope="module")
def rows(recipe: Recipe) -> list[Row]:
    return list(build(recipe.data, 4, seed=1))


def test_a_seed_gives_one_manifest(recipe: Recipe, rows: list[Row]) -> None:
    assert rows == list(build(recipe.data, 4, seed=1))
    assert rows != list(build(recipe.data, 4, seed=2))


def test_a_row_says_what_its_image_looks_like_and_shows(recipe: Recipe, rows: list[Row]) -> None:
    said = []
    for row in rows:
        assert len(set(row.perceptual)) == 3
        said += [
            any(word in one for edit in row.edits for word in WORDS[edit.kind]) for one in row.perceptual if row.edits
        ]
        brightness = texts.measure(Images(recipe.data).open(row))["brightness"]
        assert row.attributes["brightness"] == pytest.approx(brightness, abs=0.01)
        shark = "large aggressive shark widespread in warm seas" in row.semantic
        assert len(row.semantic) == (3 + texts.KINDS_EACH if shark else 2 if row.semantic else 0)
        assert sum("great white shark" in one for one in row.semantic) == (2 if shark else 0)
    assert np.mean(said) > 0.6, "the others are verdicts, or remarks"
    assert any(row.semantic for row in rows)


def test_only_photos_of_the_split_are_used(recipe: Recipe, rows: list[Row]) -> None:
    listed = {photo.path for photo in photos(recipe.data, "pristine", "train")}
    assert {recipe.data / row.image for row in rows} == listed
    assert not listed & {recipe.data / row.image for row in build(recipe.data, 1, 1, "test")}


def test_half_of_the_variants_share_a_kind() -> None:
    drawn = draw(8, np.random.default_rng(0))
    assert len({distortion.kind for one in drawn[::2] for distortion in one}) == 1
    assert all(0 < distortion.strength <= 5 for one in drawn for distortion in one)


def test_the_command(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    out = recipe.data / "i2t.jsonl"
    monkeypatch.setattr("sys.argv", ["synthetic", "--data", str(recipe.data), "--out", str(out), "--variants", "2"])
    assert main() == 0
    assert len(read(out)) == 2 * len(photos(recipe.data, "pristine", "train"))
    assert list(faults(out, "ViT-B-32")) == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"--data": "nowhere", "--out": "nowhere/i2t.jsonl"}, "is no folder"),
        ({"--variants": "0"}, "must be at least 1"),
        ({"--texts": "0"}, "--texts must be at least 1"),
        ({"--out": "i2t.txt"}, "its suffix must be .jsonl or .parquet"),
        ({"--out": "../i2t.jsonl"}, "write it into"),
    ],
)
def test_what_it_refuses(
    recipe: Recipe,
    changed: dict[str, str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(recipe.data)
    options = {"--data": ".", "--out": "never.jsonl"} | changed
    monkeypatch.setattr("sys.argv", ["synthetic", *(part for pair in options.items() for part in pair)])
    assert main() == 2
    assert says in capsys.readouterr().err
