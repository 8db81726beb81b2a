"""Ladders of compression begin at pictures of the split that no codec has harmed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.training import write_set
from train.i2t.lossless import lossless
from train.i2t.manifest import Images, Row
from train.photos import SPLITS, photos


def test_pngs_stay_and_large_photos_are_halved(tmp_path: Path) -> None:
    for folder, table, columns in (
        ("pristine", "captions.csv", ("label",)),
        ("live_challenge", "scores.csv", ("mos",)),
        ("oasis_beauty", "scores.csv", ("beauty", "label")),
    ):
        write_set(tmp_path / folder, table, 10, {column: [1] * 10 for column in columns})
    Image.new("RGB", (20, 30)).save(tmp_path / "pristine/images/k.png")
    with (tmp_path / "pristine/captions.csv").open("a") as file:
        file.write("images/k.png,\n")
    large = photos(tmp_path, "mos", "train")[0].path
    Image.fromarray(np.zeros((451, 600, 3), np.uint8)).save(large)

    found = {split: lossless(tmp_path, split) for split in SPLITS}
    name = large.relative_to(tmp_path).as_posix()
    assert Row(name, shrink=2) in found["train"]
    rows = [row for some in found.values() for row in some]
    assert {row.image: row.shrink for row in rows} == {"pristine/images/k.png": 1, name: 2}
    assert Images(tmp_path).open(Row(name, shrink=2)).shape == (226, 300, 3)
