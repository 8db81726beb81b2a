"""The fixtures of tests that export: each checkpoint becomes a bundle once a run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from tokenizers import BertWordPieceTokenizer
from tokenizers.processors import BertProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from declip_rt import Bundle
from declip_rt.model.manifest import Parity, ViewSpec
from export import __main__ as command
from export.fp16 import Fp16
from tests.conftest import encoded, picture
from tests.training import ARCHITECTURE, Recipe, checkpoint, full_size, once, recipe, vit

__all__ = ["checkpoint", "full_size", "recipe", "vit"]


ODD = [
    "",
    "   \t\n ",
    "a sharp photo",
    "It's we'll THEY'VE I'm you'd can't we're 'S 'T o'clock '\u017f",
    "“curly” ‘quotes’ it’s – a—dash…",
    "schÃ¶n cafÃ© â€œquotedâ€\x9d L&AMP;AMP;ATILDE;&AMP;AMP;SUP3;PEZ",
    "&lt;b&gt; &amp;amp; &amp;lt; &nbsp; &#128512; &notanentity; AT&T",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽 ☺️ ©®™",
    "模糊的照片 ぼやけた写真 흐린 사진 𠮷野家",
    "صورة ضبابية ٣٤٥ \u202eright to left\u202c",
    "e\u0301 n\u0303 a\u0345b \u0345 Z\u0351\u036b\u0343a\u0315lgo हिन्दी ไทย",
    "a\x00b\x07c\x1bd\x1fe\x7f\x85f\u2028g",
    "zero\u200bwidth\u200djoin\ufeffer\u2060 soft\u00adhyphen",
    "12345 3.14 1e-5 ½ Ⅷ ² ١٢٣ 100% $5 #1",
    "ＦＵＬＬ width ﬁ ﬂ ﬆ ß ẞ İstanbul ıI ΣΑΣ ǅ K",
    "snake_case kebab-case a/b\\c <tag> !?!?!? ... ::: ^_^ ~`@",
    "\U000323b0a \ua7ce\u088f b\U00011de0 \U0001f6d8 \ue000\uffff\U0010ffff",  # letters and digits of a newer Unicode
    "hahahahahaha aaaaaaaaaaaaaaaaaa zzzzzzzzz",
    "pneumonoultramicroscopicsilicovolcanoconiosis " * 30,
    "x" * 3000,
]
LOOKS = ["a blurry photo", "grainy", "washed out", "crisp detail", "the lighting is harsh"]


@dataclass(frozen=True)
class Exported:
    """A bundle, and what the command said that wrote it."""

    bundle: Path
    said: str

    @property
    def graph(self) -> Path:
        return self.bundle / "fp32.onnx"


@pytest.fixture(scope="session")
def exported(recipe: Recipe, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The bundle of `checkpoint`, with a card, by `python -m export`."""

    def make(folder: Path) -> None:
        line = [sys.executable, "-m", "export", checkpoint, "--out", folder / "bundle", "--data", recipe.data]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (folder / "said.txt").write_text(done.stdout)

    folder = once(tmp_path_factory, "exported", make)
    return Exported(folder / "bundle", (folder / "said.txt").read_text())


@pytest.fixture(scope="session")
def vit_bundle(vit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `vit`, without an INT8 graph."""
    return once(tmp_path_factory, "vit-bundle", lambda folder: command.export(vit, folder, None))


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of an open_clip model whose text tower is a small BERT, drawn at random, with mean pooling."""
    folder = once(tmp_path_factory, "bert", lambda made: write_bert(made / "bert", [*ODD, *LOOKS]))
    towers = {"hf_model_name": f"{folder}/bert", "hf_tokenizer_name": f"{folder}/bert", "context_length": 24}
    text = {**towers, "hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler"}
    (folder / "test-bert.json").write_text(json.dumps(ARCHITECTURE | {"text_cfg": text}))
    open_clip.add_model_config(folder / "test-bert.json")
    return "test-bert"


def write_bert(folder: Path, texts: list[str]) -> None:
    """Saves a BERT of 2 layers as transformers do, with a WordPiece vocabulary that is learned from `texts`."""
    pieces = BertWordPieceTokenizer()
    pieces.train_from_iterator(texts, vocab_size=500, min_frequency=1, show_progress=False)
    ends = [(name, pieces.token_to_id(name)) for name in ("[SEP]", "[CLS]")]
    pieces._tokenizer.post_processor = BertProcessing(*ends)
    pieces.enable_truncation(20)  # as those of sentence encoders
    special = {f"{kind}_token": f"[{kind.upper()}]" for kind in ("unk", "sep", "pad", "cls", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=pieces._tokenizer, **special).save_pretrained(folder)
    shape = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
    torch.manual_seed(3)
    config = BertConfig(vocab_size=pieces.get_vocab_size(), initializer_range=0.1, **shape)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 100 photos, the fewest that prove a graph."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(100):
        (folder / f"{i:03}.png").write_bytes(encoded(picture(i, 90, 80), "PNG"))
    return folder


def photos_of(views: ViewSpec) -> np.ndarray:
    """10 sets of views of very different contrast."""
    noise = (
        np.random.default_rng(0).normal(0, 1, (10, *views.shape)) * np.linspace(1, 70, 10)[:, None, None, None, None]
    )
    return np.clip(128 + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """From here on `export` copies the FP32 and the FP16 graph from a bundle of the same checkpoint: they take long."""

    def copy_from(bundle: Path) -> None:
        def graph(model: object, spec: object, path: Path) -> float:
            shutil.copy(bundle / path.name, path)
            return 0.0

        def half(fp32: Path, path: Path, pixels: object) -> Fp16:
            shutil.copy(bundle / path.name, path)
            return Fp16(Parity(n=0, change=0.0, cosine=1.0), kept=0, nodes=0, largest=())

        assert "fp16" in Bundle(bundle).manifest.graphs
        monkeypatch.setattr(command, "write_graph", graph)
        monkeypatch.setattr(command.fp16, "write_fp16", half)

    return copy_from
