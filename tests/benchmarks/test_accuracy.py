"""The accuracy benchmark finds in features what was planted there, and fills every table and picture from one run."""

from __future__ import annotations

import csv
import shutil
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from msgspec.structs import replace
from PIL import Image
from torch import Tensor, nn

from benchmarks import accuracy
from declip_rt.model.bundle import EMBEDDED, Bundle
from declip_rt.model.manifest import File
from declip_rt.ratings import agreement
from tests.conftest import encoded, picture
from tests.training import Recipe
from train import content, intervals
from train.compare import attributes, disentanglement
from train.compare.subject import SPACES, VARIANTS
from train.features import Item
from train.i2t.manifest import Images
from train.model import load

LOOKS = 16  # the first of 32 elements say how a photo looks, the others what it shows


def code(name: str, size: int) -> np.ndarray:
    """A direction of its own for each name."""
    drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(size)
    return drawn / np.linalg.norm(drawn)


def planted(item: Item) -> np.ndarray:
    """(32,): goodness and the kind of distortion; the category or the photo."""
    row, made = item.row, np.zeros(32, np.float32)
    name = Path(row.image).stem
    if row.edits:
        made[0] = 2 - 0.8 * sum(edit.strength for edit in row.edits)
        made[2:LOOKS] = sum(code(edit.kind, LOOKS - 2) for edit in row.edits)
    elif "mos" in row.scores:
        made[0] = row.scores["mos"] / 25 - 2
    elif "beauty" in row.scores:
        made[0] = row.scores["beauty"] - 4
    elif "kadid10k" in row.image:
        made[0] = 3.5 - int(name[-1])
    else:
        made[0] = 2
    if not row.edits:
        made[1] = 2
    if "oasis" in row.image:
        made[LOOKS : LOOKS + 2] = 1, (-1) ** int(name)  # its category: Animal and Object take turns
    elif "pristine" in row.image:
        made[LOOKS + 2 :] = code(name, 30 - LOOKS)
    return made


class Stored:
    def __init__(self, items: Sequence[Item]) -> None:
        self.features = F.normalize(torch.from_numpy(np.stack([planted(item) for item in items])), dim=-1)
        self.failures: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, which: Iterable[int]) -> Tensor:
        return self.features[list(which)]


class Encoder:
    """In place of the one that shows photos to the image tower, which tests/train/test_features.py tests."""

    def __init__(self, model: object, images: Images, *_: object, workers: int) -> None:
        self.images = images

    def __call__(self, items: Sequence[Item], what: str) -> Stored:
        return Stored(items)


class Part(nn.Module):
    """A projector that keeps one half of a feature."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first = first

    def forward(self, coarse: Tensor) -> Tensor:
        kept = torch.zeros_like(coarse)
        kept[..., self.first : self.first + LOOKS] = coarse[..., self.first : self.first + LOOKS]
        return F.normalize(kept, dim=-1)


def parted(checkpoint: Path) -> tuple[object, ...]:
    config, model, calibration = load(checkpoint)
    model.perceptual, model.semantic = Part(0), Part(LOOKS)
    return config, model, calibration


def bundle_of(checkpoint: Path, folder: Path) -> Path:
    """The embedded bundle, as if it had been exported from the checkpoint."""
    embedded = Bundle()
    shutil.copytree(embedded.path, folder, dirs_exist_ok=True)
    replace(embedded.manifest, checkpoint_sha256=File.of(checkpoint).sha256).write(folder)
    return folder


@pytest.fixture(scope="module")
def results(recipe: Recipe, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, rated = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("kadid10k")
    run = Path(shutil.copytree(checkpoint.parent, tmp_path_factory.mktemp("accuracy") / "run"))
    names = [f"I{reference:02}_01_{level:02}.png" for reference in range(1, 31) for level in range(1, 6)]
    (rated / "images").mkdir()
    for name in names:
        (rated / "images" / name).write_bytes(encoded(picture(0, 20, 20), "PNG"))
    lines = [f"{name},{name[:3]}.png,{5 - int(name[7:9]) / 2},0.1" for name in names]
    (rated / "dmos.csv").write_text("\n".join(["dist_img,ref_img,dmos,var", *lines]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accuracy, "Encoder", Encoder)
        patch.setattr(accuracy, "load", parted)
        patch.setattr(agreement, "RESAMPLES", 50)
        patch.setattr(agreement, "BLOCK", 50)
        patch.setattr(attributes, "TRAIN_SERIES", 8)
        patch.setattr(attributes, "TEST_SERIES", 3)
        patch.setattr(intervals, "RESAMPLES", 50)
        patch.setattr("train.ladder.CODECS", {"JPEG": "jpeg", "WebP": "webp"})
        patch.setitem(VARIANTS, "train", 24)  # some of every kind
        patch.setattr("train.i2t.lossless.LEAST", 130)
        patch.setattr("train.compare.words.LEAST", 1)
        patch.setattr("train.plots.CURVE_PHOTOS", 1)
        patch.setattr(accuracy, "ABLATIONS", dict(list(accuracy.ABLATIONS.items())[:2]))
        bundle = bundle_of(run / "declip.pt", tmp_path_factory.mktemp("bundle"))
        options = ["--bundle", str(bundle), "--data", str(recipe.data), "--out", str(out)]
        options += ["--set", f"kadid10k={rated}"]
        patch.setattr("sys.argv", ["accuracy", str(run), *options])
        assert accuracy.main() == 0
    return out


Row = dict[str, str]


def table(results: Path, title: str) -> list[Row]:
    """The rows of a table's CSV; every interval holds its figure."""
    assert f"## {title}" in (results / "accuracy.md").read_text()
    with (results / "accuracy" / f"{title.replace(' ', '-')}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        bounds = [name for name in row if name.endswith(" low")]
        assert bounds
        for name in bounds:
            value, low, high = (float(row[name[:-4] + end]) for end in ("", " low", " high"))
            assert low - 1e-6 <= value <= high + 1e-6
            assert low >= -1
            assert "RMSE" in name or high <= 1
    return rows


def numbers(row: Row, *columns: str) -> list[float]:
    return [float(row[column]) for column in columns]


@pytest.mark.parametrize("title", ["technical quality", "aesthetic quality"])
def test_people_are_agreed_with(results: Path, title: str) -> None:
    rows = table(results, title)
    assert [row["feature"] for row in rows] == ["CLIP, coarse"] * 3 + ["DeCLIP, perceptual"] * 3
    assert [row["read by"] for row in rows] == ["prompts", "linear probe", "trained head"] * 2
    for row in rows[1::3]:
        assert numbers(row, "SRCC", "PLCC", "KRCC") == pytest.approx([1, 1, 1], abs=0.01)
        assert float(row["RMSE"]) < 2, "on the scale of the raters"


def test_every_attribute_is_found(results: Path) -> None:
    rows = table(results, "fine-grained attributes")
    assert [row["attribute"] for row in rows] == list(attributes.SERIES_OF)
    for row in rows:
        assert min(numbers(row, "probe, coarse", "probe, perceptual")) > 0.85


def test_looks_are_in_one_space_and_content_in_the_other(results: Path) -> None:
    rows = [numbers(row, *SPACES) for row in table(results, "disentanglement")]
    kind, plain_kind, family, strength, photo, category = rows
    for coarse, perceptual, semantic in (kind, plain_kind):
        assert coarse == perceptual == 1
        assert semantic < 0.2
    for coarse, perceptual, semantic in (family, strength):
        assert min(coarse, perceptual) > semantic + 0.15
    assert strength[1] > 0.9
    for coarse, perceptual, semantic in (photo, category):
        assert semantic == 1
        assert perceptual < 0.3
        assert coarse > perceptual + 0.3


def test_stage_two_is_trained_again_without_a_term(results: Path) -> None:
    rows = table(results, "ablation")
    assert [row["left out"] for row in rows] == ["nothing", "cross-space term"]
    for row in rows:
        technical, kind, *photo = numbers(row, *disentanglement.SUMMARY)
        assert technical > 0.95
        assert kind > 0.7
        assert min(photo) > 0.5


def test_one_set_predicts_another(results: Path) -> None:
    rows = table(results, "cross-database")
    sets = ["LIVE In the Wild", "distortions", "kadid10k"]
    assert [(row["feature"], row["learned from"]) for row in rows] == [
        (space, one) for space in ("coarse", "perceptual") for one in sets
    ]
    for row in rows[3:]:
        assert float(row[row["learned from"]]) > 0.85, "without the content that is planted in the coarse feature"
    assert float(rows[0]["kadid10k"]) > 0.9, "both ratings are planted in one element"


def test_content_is_found_by_words(results: Path) -> None:
    rows = table(results, "content by own words")
    words = content.kinds()["animal"].words
    assert [row["words"] for row in rows if row["what"].startswith("animal")] == ["mean", *map(":".join, words)]


def test_what_ships_is_measured_through_the_runtime(results: Path) -> None:
    what = [row["what"] for row in table(results, "what ships")]
    for part in ("technical SRCC", "aesthetic SRCC", "along WebP", "blurry, out of focus, unsharp"):
        assert any(part in line for line in what)


def test_the_ladders(results: Path) -> None:
    rows = table(results, "ladders of compression")
    assert [row["step"] for row in rows][:3] == ["PNG", "q98", "q95"]
    assert float(rows[-1]["JPEG"]) < float(rows[0]["JPEG"])


def test_each_claim_holds_or_does_not(results: Path) -> None:
    text = (results / "accuracy.md").read_text()
    lines = text.partition("## what holds")[2].partition("\n## ")[0].splitlines()
    claims = [line for line in lines if line.startswith("- ")]
    held = [line for line in claims if line.endswith("The claim holds.")]
    assert any(f"{len(held)} of {len(claims)} claims hold." in line for line in lines)
    parted = [line for line in held if "the photo under another distortion" in line]
    assert len(parted) == 2, "content is planted outside of the perceptual half"
    same = next(line for line in claims if "- technical quality by linear probe" in line)
    assert "does not hold: there may be no difference" in same, "both halves read the planted score"


def test_the_bundle_of_another_checkpoint_is_refused(
    recipe: Recipe,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "declip.pt").write_bytes(checkpoint.read_bytes())
    options = ["--bundle", str(EMBEDDED / "declip-tiny"), "--data", str(recipe.data), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["accuracy", str(tmp_path), *options])
    assert accuracy.main() == 2
    assert "export this one" in capsys.readouterr().err


def test_the_pictures(results: Path) -> None:
    for name in ("technical", "distortions", "spaces", "ladder"):
        with Image.open(results / "accuracy" / f"{name}.png") as image:
            assert image.convert("L").getextrema()[0] < 100, "something is drawn"
