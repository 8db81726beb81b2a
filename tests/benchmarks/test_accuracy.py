"""The accuracy benchmark fills every table and picture from one run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import accuracy
from tests.conftest import encoded, picture
from tests.training import Recipe
from train import compare


@pytest.fixture(scope="module")
def results(recipe: Recipe, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, rated = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("kadid10k")
    names = [f"I{reference:02}_01_{level:02}.png" for reference in range(1, 6) for level in range(1, 7)]
    (rated / "images").mkdir()
    for i, name in enumerate(names):
        (rated / "images" / name).write_bytes(encoded(picture(i, 70, 70), "PNG"))
    lines = [f"{name},{name[:3]}.png,{5 - i % 6 / 2},0.1" for i, name in enumerate(names)]
    (rated / "dmos.csv").write_text("\n".join(["dist_img,ref_img,dmos,var", *lines]))
    more = ["--set", f"kadid10k={rated}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "TRAIN_SERIES", 2)
        patch.setattr(compare, "TEST_SERIES", 1)
        patch.setattr("train.plots.CURVE_PHOTOS", 1)
        patch.setattr(accuracy, "ABLATIONS", dict(list(accuracy.ABLATIONS.items())[:2]))
        patch.setattr(
            "sys.argv", ["accuracy", str(checkpoint.parent), "--data", str(recipe.data), "--out", str(out), *more]
        )
        assert accuracy.main() == 0
    return out


def test_the_tables(results: Path) -> None:
    text = (results / "accuracy.md").read_text()
    for title in (
        "technical quality",
        "aesthetic quality",
        "fine-grained attributes",
        "disentanglement",
        "ablation",
        "cross-database",
    ):
        assert f"## {title}" in text
        rows = list(csv.DictReader((results / "accuracy" / f"{title.replace(' ', '-')}.csv").open()))
        assert rows
        for row in rows:
            bounds = [name for name in row if name.endswith(" low")]
            assert bounds
            for name in bounds:
                value, low, high = (float(row[name[:-4] + end]) for end in ("", " low", " high"))
                assert -1 <= low <= high
                assert "RMSE" in name or max(abs(value), abs(low), abs(high)) <= 1


def test_the_pictures(results: Path) -> None:
    for name in ("technical", "distortions", "spaces"):
        with Image.open(results / "accuracy" / f"{name}.png") as image:
            assert image.convert("L").getextrema()[0] < 100, "something is drawn"
