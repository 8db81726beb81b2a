"""A data folder and a configuration small enough to train on in a test (fixtures for tests/train and tests/export)."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from msgspec.structs import replace

from declip_rt.model.manifest import Calibration
from export.__main__ import export
from tests.conftest import encoded, picture
from train import run
from train.model import build, load, save

ARCHITECTURE = {
    "embed_dim": 32,
    "vision_cfg": {
        "timm_model_name": "mobilenetv4_conv_small_050",
        "timm_pool": "avg",
        "timm_proj": "",
        "image_size": 64,
    },
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
TRANSFORMER = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 256, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
CONFIG = """
name = "test-model"
licence = "CC0-1.0"
summary = "A model for a test."
seed = 7
[views]
size = 64
placements = [{ short_side = 64 }, { short_side = 128, x = 0.1, y = 0.9 }]
[clip]
model = "test-tower"
steps = 4
photos = 3
variants = 2
mos_photos = 2
beauty_photos = 2
crop = 48
warmup = 2
[features]
variants = 2
jitters = 2
series = 3
[declip]
steps = 6
batch = 8
warmup = 2
[heads]
steps = 6
batch = 8
"""


@dataclass(frozen=True)
class Recipe:
    """Where the test's data and configuration are."""

    data: Path
    config: Path


def write_set(folder: Path, table: str, count: int, columns: dict[str, list[object]]) -> None:
    (folder / "images").mkdir(parents=True)
    with (folder / table).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *columns])
        for i in range(count):
            name = f"images/{i:03}.jpg"
            (folder / name).write_bytes(encoded(picture(i, 140 + i, 130)))
            writer.writerow([name, *(values[i] for values in columns.values())])


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    data, configs = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("configs")
    rng = np.random.default_rng(0)
    labels: list[object] = ["great_white shark", "coffee cup", ""] * 10
    write_set(data / "pristine", "captions.csv", 20, {"label": labels})
    write_set(data / "live_challenge", "scores.csv", 25, {"mos": list(rng.uniform(5, 90, 25))})
    beauty: dict[str, list[object]] = {"beauty": list(rng.uniform(1.5, 6.5, 25)), "label": labels}
    write_set(data / "oasis_beauty", "scores.csv", 25, beauty | {"category": ["Animal", "Object"] * 13})
    (configs / "test.toml").write_text(CONFIG)
    (configs / "test-tower.json").write_text(json.dumps(ARCHITECTURE))
    return Recipe(data, configs / "test.toml")


@pytest.fixture(scope="session")
def checkpoint(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """declip.pt of one whole run."""
    return run.train(recipe.config, recipe.data, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def vit(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a small ViT, its heads drawn at random."""
    folder = tmp_path_factory.mktemp("vit")
    (folder / "test-vit.json").write_text(json.dumps(TRANSFORMER))
    open_clip.add_model_config(folder)
    config, _, _ = load(checkpoint)
    config = replace(config, clip=replace(config.clip, model="test-vit", steps=0))
    torch.manual_seed(1)
    model = build(config, open_clip.create_model("test-vit")).eval()
    for parameter in model.quality.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    torch.nn.init.normal_(model.attributes.axes)
    save(folder / "declip.pt", config, model, Calibration())
    return folder / "declip.pt"


@pytest.fixture(scope="session")
def prompted(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's bundle, which has a text tower."""
    folder = tmp_path_factory.mktemp("prompted")
    export(checkpoint, folder, None)
    return folder
