"""Splits are disjoint, whole and fixed for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from declip_rt import ConfigError
from tests.training import Recipe, write_set
from train.photos import SETS, SPLITS, photos


@pytest.mark.parametrize("name", [name for name, table in SETS.items() if not table.optional])
def test_splits_share_no_photo_and_lose_none(recipe: Recipe, name: str) -> None:
    parts = [{photo.path for photo in photos(recipe.data, name, split)} for split in SPLITS]
    assert len(set.union(*parts)) == sum(len(part) for part in parts) == len(list(parts[0].pop().parent.iterdir()))


def test_the_split_is_a_fifth_and_a_tenth(recipe: Recipe) -> None:
    assert [len(photos(recipe.data, "mos", split)) for split in SPLITS] == [18, 2, 5]


def test_the_split_never_changes(recipe: Recipe) -> None:
    """What was held out once stays held out: these are the names that the committed seed gives."""
    assert [photo.path.stem for photo in photos(recipe.data, "mos", "test")] == ["000", "005", "014", "016", "020"]


def test_the_order_of_the_rows_does_not_matter(recipe: Recipe, tmp_path: Path) -> None:
    write_set(tmp_path / "live_challenge", "scores.csv", 25, {"mos": list(range(25))})
    table = tmp_path / "live_challenge" / "scores.csv"
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([head, *reversed(rows)]))
    for split in SPLITS:
        names = [photo.path.name for photo in photos(tmp_path, "mos", split)]
        assert names == [photo.path.name for photo in photos(recipe.data, "mos", split)]
        assert [photo.score for photo in photos(tmp_path, "mos", split)] == [float(name[:3]) for name in names]


def test_labels_read_as_words(recipe: Recipe) -> None:
    assert {photo.label for photo in photos(recipe.data, "pristine", "train")} == {
        "great white shark",
        "coffee cup",
        "",
    }


def test_a_photo_is_shrunk_to_the_limit(recipe: Recipe) -> None:
    photo = photos(recipe.data, "mos", "train")[0]
    assert min(photo.read(64).shape[:2]) == 64
    assert min(photo.read().shape[:2]) == 130


def test_a_folder_without_the_layout(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pristine/captions\.csv.*train/README"):
        photos(tmp_path, "pristine", "train")


def test_a_set_that_may_be_left_out(recipe: Recipe, tmp_path: Path) -> None:
    assert [photos(recipe.data, "coco", split) for split in SPLITS] == [[], [], []]
    folder = tmp_path / "coco256"
    folder.mkdir()
    counted = ["bowlx3;broccolix1", "cell phonex2", ""]
    rows = [f"{i}.jpg,train,{label}" for i, label in enumerate(counted * 10)]
    (folder / "labels.csv").write_text("\n".join(["image,split,labels", *rows]))
    found = [photo for split in SPLITS for photo in photos(tmp_path, "coco", split)]
    assert {photo.path for photo in found} == {folder / "images" / f"{i}.jpg" for i in range(30)}
    assert {photo.label for photo in found} == {"bowl, broccoli", "cell phone", ""}
