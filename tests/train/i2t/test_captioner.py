"""A vision-language model of a test's size writes the semantic texts, by the real loading code."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    BlipTextConfig,
    BlipVisionConfig,
    PreTrainedTokenizerFast,
)

from declip_rt import ConfigError
from tests.conftest import encoded, picture
from train.i2t import captioner
from train.i2t.captioner import Captioner, tidy
from train.i2t.manifest import Row, read, write

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a blurry cat dog sits on the grass rewrite this photo".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vlm")
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, mask_token="[MASK]", **special)
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = BlipTextConfig(vocab_size=len(WORDS), encoder_hidden_size=16, max_position_embeddings=128, **size, **ends)
    vision = BlipVisionConfig(image_size=32, patch_size=16, **size)
    config = BlipConfig(text_config=text.to_dict(), vision_config=vision.to_dict())
    BlipForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [Row("lost.png", ("x",))]
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(encoded(picture(i), "PNG"))
        rows.append(Row(f"{i}.png", ("a dark photo",), ("a blurry cat",), provenance="test"))
    write(tmp_path / "i2t.jsonl", rows)
    return tmp_path / "i2t.jsonl"


def run(monkeypatch: pytest.MonkeyPatch, manifest: Path, model: Path, *more: str) -> int:
    out = str(manifest.parent / "new.jsonl")
    monkeypatch.setattr("sys.argv", ["captioner", str(manifest), "--model", str(model), "--out", out, *more])
    return captioner.main()


@pytest.mark.parametrize("more", [[], ["--rewrite"]])
def test_the_model_writes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    manifest: Path,
    vlm: Path,
    more: tuple[str, ...],
) -> None:
    assert run(monkeypatch, manifest, vlm, "--batch", "2", *more) == 1, "one image is not there"
    printed = capsys.readouterr()
    assert "3 rows written, 0 were there, 1 images could not be read" in printed.out
    assert "left out: lost.png" in printed.err
    rows = read(manifest.parent / "new.jsonl")
    assert [row.image for row in rows] == ["0.png", "1.png", "2.png"]
    assert all(row.perceptual == ("a dark photo",) for row in rows)
    assert all(row.provenance == f"test, semantic by {vlm}" for row in rows)


def test_a_stopped_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], manifest: Path, vlm: Path
) -> None:
    run(monkeypatch, manifest, vlm)
    whole = (manifest.parent / "new.jsonl").read_text()
    (manifest.parent / "new.jsonl").write_text(whole.splitlines(keepends=True)[0])
    capsys.readouterr()
    run(monkeypatch, manifest, vlm)
    assert "2 rows written, 1 were there" in capsys.readouterr().out
    assert (manifest.parent / "new.jsonl").read_text() == whole


def test_an_answer_is_tidied() -> None:
    assert tidy("what is it? A cat  sits\non the grass. It is nice.", "what is it?") == "A cat sits on the grass"
    assert tidy('"a dog"', "") == "a dog"
    assert tidy("", "") == ""


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot load"):
        Captioner(str(tmp_path), "cpu")
