"""Stage 2 brings each projector near its own text and away from the other's, on any manifest and tower."""

from __future__ import annotations

import logging
import subprocess
import sys
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from declip_rt import ConfigError, ImageError
from declip_rt.images.views import write_views
from tests.conftest import encoded, picture
from tests.training import Recipe
from train import clip, declip
from train.config import Config
from train.i2t.manifest import Images, Row, read, write
from train.model import Declip, build

LOOKS, SHOWS = ("a dark photo", "a bright photo"), ("a photo of a fire", "a photo of the sea")
BRIGHTNESS, COLOR = (0.25, 0.9), ((1.0, 0.4, 0.2), (0.2, 0.5, 1.0))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 images: three scenes, red or blue (what they show), and dark or bright (how they look)."""
    folder = tmp_path_factory.mktemp("i2t")
    rows = []
    for scene, (look, brightness), (show, color) in product(range(3), enumerate(BRIGHTNESS), enumerate(COLOR)):
        name = f"{scene}{look}{show}.png"
        (folder / name).write_bytes(encoded((picture(scene, 90, 80) * brightness * color).astype(np.uint8), "PNG"))
        looks, shows = (LOOKS[look], f"{LOOKS[look]}, plainly"), (SHOWS[show],)
        rows.append(Row(name, looks, shows, scores={"mos": 20.0 * scene + 5 * look}))
    write(folder / "i2t.jsonl", rows)
    return folder / "i2t.jsonl"


def prepared(recipe: Recipe, **options: object) -> tuple[Config, Declip]:
    """A model with a random tower, the same each time."""
    config = Config.read(recipe.config)
    stage = msgspec.structs.replace(config.declip, **options)
    whole = msgspec.structs.replace(config.clip, model="test-clip", steps=0)
    config = msgspec.structs.replace(config, declip=stage, clip=whole)
    torch.manual_seed(0)
    return config, build(config, clip.load(config.clip, recipe.config.parent))


def trained(recipe: Recipe, manifest: Path, out: Path, **options: object) -> Declip:
    config, model = prepared(recipe, **options)
    declip.train(model, config, read(manifest), Images(manifest.parent), out)
    return model


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@torch.no_grad()
def similarities(model: Declip, config: Config, manifest: Path, space: str, texts: tuple[str, ...]) -> Tensor:
    """Of the manifest's images, in a space, to texts: (12, 2)."""
    pixels = np.zeros((12, *config.views.shape), np.uint8)
    for row, views in zip(read(manifest), pixels, strict=True):
        write_views(Images(manifest.parent).open(row), config.views, views)
    image = getattr(model, space)(model.coarse(torch.from_numpy(pixels)))
    return image @ clip.encode_texts(model.clip, config.clip.model, list(texts)).T


def test_each_projector_learns_its_own_text(recipe: Recipe, manifest: Path, tmp_path: Path) -> None:
    config, before = prepared(recipe)
    model = trained(recipe, manifest, tmp_path, steps=150, level_weight=0.0)
    for space, texts in (("perceptual", LOOKS), ("semantic", SHOWS)):
        own = torch.tensor([texts.index(getattr(row, space)[0]) for row in read(manifest)])
        assert (similarities(before, config, manifest, space, texts).argmax(1) == own).sum() < 10
        assert (similarities(model, config, manifest, space, texts).argmax(1) == own).all()
    assert equal(weights(before.clip), weights(model.clip)), "CLIP stays frozen"


def test_the_cross_term_keeps_the_other_text_out(recipe: Recipe, manifest: Path, tmp_path: Path) -> None:
    config, _ = prepared(recipe)
    options = {"steps": 60, "level_weight": 0.0}
    without = trained(recipe, manifest, tmp_path / "0", cross_weight=0.0, **options)
    crossed = trained(recipe, manifest, tmp_path / "1", cross_weight=1.0, **options)

    def told(model: Declip, space: str, other: tuple[str, ...]) -> float:
        """How far the choice between the other space's texts varies with the image."""
        found = similarities(model, config, manifest, space, other)
        return float((found[:, 0] - found[:, 1]).std())

    for space, other in (("perceptual", SHOWS), ("semantic", LOOKS)):
        assert told(crossed, space, other) < 0.5 * told(without, space, other)


def test_a_weight_of_zero_drops_its_term(recipe: Recipe, manifest: Path, tmp_path: Path) -> None:
    _, before = prepared(recipe)
    model = trained(recipe, manifest, tmp_path, semantic_weight=0.0, cross_weight=0.0)
    assert equal(weights(before.semantic), weights(model.semantic))
    assert not equal(weights(before.perceptual), weights(model.perceptual))
    with pytest.raises(ConfigError, match="all weights"):
        trained(
            recipe,
            manifest,
            tmp_path,
            **dict.fromkeys([f"{n}_weight" for n in (*declip.SPACES, "cross", "level")], 0.0),
        )


def test_the_same_seed_gives_the_same_weights(recipe: Recipe, manifest: Path, tmp_path: Path) -> None:
    one, other = (trained(recipe, manifest, tmp_path / run) for run in "ab")
    assert equal(weights(one), weights(other))


def test_unfrozen_blocks_learn_and_others_do_not(recipe: Recipe, manifest: Path, tmp_path: Path) -> None:
    _, before = prepared(recipe)
    model = trained(recipe, manifest, tmp_path, unfreeze=1, lr=1e-2)
    now, then = weights(model.clip), weights(before.clip)
    moved = {name for name in now if not torch.equal(now[name], then[name])}
    last = max(int(name.split(".")[3]) for name in now if name.startswith("visual.trunk.blocks."))
    assert f"visual.trunk.blocks.{last}.0.conv.weight" in moved
    assert "visual.trunk.classifier.weight" in moved
    assert not [
        name for name in moved if "running" in name or "trunk" not in name or "stem" in name or "blocks.0" in name
    ]
    assert not any(parameter.requires_grad for parameter in model.clip.parameters())


@pytest.mark.parametrize("unfreeze", [0, 1])
def test_images_that_cannot_be_read_are_counted(
    recipe: Recipe, manifest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, unfreeze: int
) -> None:
    (tmp_path / "torn.jpg").write_bytes(encoded(picture(1))[:300])
    (tmp_path / "good.jpg").write_bytes(encoded(picture(2)))
    rows = [Row(name, LOOKS[:1], SHOWS[:1]) for name in ("torn.jpg", "good.jpg", "none.jpg", "good.jpg")]
    write(tmp_path / "i2t.jsonl", rows)
    with caplog.at_level(logging.WARNING, "train"):
        trained(recipe, tmp_path / "i2t.jsonl", tmp_path, unfreeze=unfreeze)
    (line,) = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
    assert line.startswith("2 of 4 ")
    assert "torn.jpg" in line
    assert "none.jpg" in line
    write(tmp_path / "i2t.jsonl", [rows[0], rows[2]])
    with pytest.raises(ImageError, match=r"can be read; the first is (torn|none)\.jpg"):
        trained(recipe, tmp_path / "i2t.jsonl", tmp_path / "bad", unfreeze=unfreeze)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "none of the 0 rows has a text"),
        ([Row("000.png", ("a dark photo",))], "no row has a semantic text"),
        ([Row("000.png", ("a dark photo",), ("a photo of " + "very " * 40 + "much",))], r"semantic text of 000\.png"),
    ],
)
def test_a_manifest_that_cannot_be_used(
    recipe: Recipe, manifest: Path, tmp_path: Path, rows: list[Row], message: str
) -> None:
    config, model = prepared(recipe)
    with pytest.raises(ConfigError, match=message):
        declip.train(model, config, rows, Images(manifest.parent), tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["train.declip", *map(str, arguments)])
    return declip.main()


def test_two_processes_learn_what_one_does_from_twice_the_batch(
    recipe: Recipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test-tower.json").write_bytes((recipe.config.parent / "test-tower.json").read_bytes())
    found = {}
    for processes, batch in ((1, 8), (2, 4)):
        config, out = tmp_path / f"{processes}.toml", tmp_path / f"{processes}"
        text = recipe.config.read_text().replace("steps = 4", "steps = 0")
        config.write_text(text.replace("steps = 6\nbatch = 8", f"steps = 2\nbatch = {batch}", 1))
        arguments = [config, "--manifest", manifest, "--out", out]
        if processes == 1:
            run(monkeypatch, *arguments)
        else:
            torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
            subprocess.run([sys.executable, *torchrun, "-m", "train.declip", *arguments], check=True)
        found[processes] = torch.load(out / "projectors.pt", weights_only=True)
    assert (tmp_path / "2" / "log.txt").read_text().count("training on cpu") == 1, "the first process alone logs"
    one, two = found[1]["weights"], found[2]["weights"]
    assert all(torch.allclose(value, two[name], atol=2e-5) for name, value in one.items())
    moved = prepared(recipe)[1].semantic.state_dict()["mlp.3.weight"]
    assert (one["projectors.semantic.mlp.3.weight"] - moved).abs().max() > 1e-3


def test_alone_it_asks_for_a_clip(
    recipe: Recipe, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, recipe.config, "--manifest", manifest, "--out", tmp_path) == 2
    assert "set clip.steps = 0" in capsys.readouterr().err
