"""What tests that need torch share: data and a configuration small enough to train on, and checkpoints.

The conftest.py of tests/train, tests/export and tests/benchmarks take these fixtures; no other test imports torch.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from msgspec.structs import replace
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from benchmarks import peers
from declip_rt.model.manifest import Calibration
from tests.conftest import encoded, picture
from train import clip, run
from train.config import Config
from train.features import Encoder
from train.i2t.manifest import Images
from train.model import Declip, build, load, save

TEXT = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
ARCHITECTURE = {  # its text tower is that of `sentence_text`
    "embed_dim": 32,
    "vision_cfg": {
        "timm_model_name": "mnasnet_small",
        "timm_pool": "avg",
        "timm_proj": "linear",
        "timm_proj_bias": True,
        "image_size": 64,
    },
}
CLIP = {  # by CLIP's own tokenizer
    "embed_dim": 32,
    "vision_cfg": {
        "timm_model_name": "mobilenetv4_conv_small_050",
        "timm_pool": "avg",
        "timm_proj": "",
        "image_size": 64,
    },
    "text_cfg": TEXT,
}
TRANSFORMER = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 256, "head_width": 64, "patch_size": 16},
    "text_cfg": TEXT,
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
batch = 8
warmup = 2
[features]
variants = 2
jitters = 2
series = 3
ladders = 2
[declip]
steps = 6
batch = 8
warmup = 2
[heads]
penalty = { technical = 0.03, aesthetic = 0.03 }
[[data]]
name = "noise"
terms = "CC0-1.0"
used_for = "everything"
"""


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name`, which `make` fills once a run: the first process that asks does it, the others read."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"once-{name}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            made = Path(tempfile.mkdtemp(dir=folder.parent))
            make(made)
            made.rename(folder)
    return folder


@dataclass(frozen=True)
class Recipe:
    """Where the test's data and configuration are."""

    data: Path
    config: Path


def write_sentence_encoder(folder: Path) -> None:
    """Writes a tiny BERT with random weights into `folder`, as Hugging Face's libraries do."""
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'-"]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    tokens += ["a", "photo", "of", "dark", "bright", "blurry", "noisy", "good", "bad", "quality"][1:]
    tokenizer = Tokenizer(WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokens), max_position_embeddings=128, **shape)).save_pretrained(folder)


def sentence_text(folder: Path) -> dict[str, object]:
    """The `text_cfg` of a sentence encoder in `folder`."""
    return {
        "hf_model_name": str(folder),
        "hf_tokenizer_name": str(folder),
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "linear",
        "context_length": 64,
    }


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
    def make(folder: Path) -> None:
        rng = np.random.default_rng(0)
        labels: list[object] = ["great_white shark", "coffee cup", ""] * 10
        write_set(folder / "data/pristine", "captions.csv", 20, {"label": labels})
        write_set(folder / "data/live_challenge", "scores.csv", 25, {"mos": list(rng.uniform(5, 90, 25))})
        beauty: dict[str, list[object]] = {"beauty": list(rng.uniform(1.5, 6.5, 25)), "label": labels}
        write_set(folder / "data/oasis_beauty", "scores.csv", 25, beauty | {"category": ["Animal", "Object"] * 13})
        (folder / "configs").mkdir()
        (folder / "configs/test.toml").write_text(CONFIG)

        text = sentence_text(once(tmp_path_factory, "sentence-encoder", write_sentence_encoder))
        (folder / "configs/test-clip.json").write_text(json.dumps(CLIP))
        (folder / "configs/test-tower.json").write_text(json.dumps(ARCHITECTURE | {"text_cfg": text}))

    folder = once(tmp_path_factory, "recipe", make)
    return Recipe(folder / "data", folder / "configs/test.toml")


@pytest.fixture(scope="session")
def checkpoint(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """declip.pt of one whole run, whose folder no test writes to. Its tower has convolutions of every kind."""
    return once(tmp_path_factory, "run", lambda out: run.train(recipe.config, recipe.data, out)) / "declip.pt"


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> tuple[Config, Declip]:
    config, model, _ = load(checkpoint)
    return config, model


def encoder(loaded: tuple[Config, Declip], recipe: Recipe, out: Path) -> Encoder:
    """Of a loaded model, with its features in `out`."""
    config, model = loaded
    return Encoder(model, Images(recipe.data), config.views, out, workers=0)


@pytest.fixture(scope="session")
def vit(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a ViT of 256 channels, which INT8 takes, its heads drawn at random."""

    def make(folder: Path) -> None:
        (folder / "test-vit.json").write_text(json.dumps(TRANSFORMER))
        config = Config.read(recipe.config)
        config = replace(config, clip=replace(config.clip, model="test-vit", steps=0))
        torch.manual_seed(1)
        model = build(config, clip.load(config.clip, folder)).eval()
        for parameter in model.quality.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        torch.nn.init.normal_(model.attributes.axes)
        save(folder / "declip.pt", config, model, Calibration())

    return once(tmp_path_factory, "vit", make) / "declip.pt"


@pytest.fixture(scope="session")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of ViT-B/32, which is of full size, with random weights."""
    return once(tmp_path_factory, "full-size", lambda out: peers.random_model("ViT-B-32", out)) / "ViT-B-32.pt"
