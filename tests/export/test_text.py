"""The exported text tower gives torch's features, from a table of bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import open_clip
import pytest
import torch
from onnx import TensorProto
from torch import nn

from declip_rt import Bundle, EngineError
from export.__main__ import export
from export.probes import TOPICS
from export.text import BLOCK, COSINE, FAMILIAR, RoundedEmbedding, RoundedLinear, write_text
from export.tokenizer import is_supported
from tests.export.conftest import LOOKS, Exported
from train import texts
from train.clip import encode_texts
from train.model import load


def test_names_types_and_shapes(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(str(exported.bundle / "text.onnx"))
    (tokens,), (text, familiarity) = session.get_inputs(), session.get_outputs()
    assert (tokens.name, tokens.type, tokens.shape[1:]) == ("tokens", "tensor(int64)", [64])
    assert (text.name, text.type, text.shape[1:]) == ("text", "tensor(float)", [32])
    assert (familiarity.name, familiarity.type, familiarity.shape[1:]) == ("familiarity", "tensor(float)", [])
    assert isinstance(tokens.shape[0], str), "the number of texts is free"
    assert b"stack_trace" not in (exported.bundle / "text.onnx").read_bytes()


def test_the_token_table_is_stored_as_bytes_alone(vit_bundle: Path) -> None:
    tensors = onnx.load(vit_bundle / "text.onnx").graph.initializer
    tables = [tensor for tensor in tensors if list(tensor.dims) == [49408, 32]]
    assert [tensor.data_type for tensor in tables] == [onnx.TensorProto.INT8]


@pytest.mark.parametrize("n", [1, 5])
def test_features_are_torchs_but_for_the_rounding(exported: Exported, checkpoint: Path, n: int) -> None:
    config, model, _ = load(checkpoint)
    captions = [*texts.QUALITY, *texts.BEAUTY][:n]
    tokens = open_clip.get_tokenizer(config.clip.model)(captions).numpy()
    ours = onnxruntime.InferenceSession(str(exported.bundle / "text.onnx")).run(["text"], {"tokens": tokens})[0]
    with torch.no_grad():
        theirs = encode_texts(model.clip, config.clip.model, captions).numpy()
    assert np.linalg.norm(ours, axis=1) == pytest.approx(1, abs=1e-5)
    assert (ours * theirs).sum(1).min() >= COSINE


def create(bert: str) -> nn.Module:
    torch.manual_seed(0)  # of the projection
    return open_clip.create_model(bert).eval()


@pytest.fixture(scope="module")
def sentences(bert: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """text.onnx of a BERT."""
    path = tmp_path_factory.mktemp("bert") / "text.onnx"
    assert write_text(create(bert), bert, path, LOOKS) >= COSINE
    return path


def run(graph: Path, name: str, texts: list[str], output: str = "text") -> np.ndarray:
    tokens = open_clip.get_tokenizer(name)(texts).numpy()
    return onnxruntime.InferenceSession(str(graph)).run([output], {"tokens": tokens})[0]


def test_a_berts_matrices_are_stored_as_bytes_alone(sentences: Path) -> None:
    float_sizes = [np.prod(t.dims) for t in onnx.load(sentences).graph.initializer if t.data_type == TensorProto.FLOAT]
    assert max(float_sizes) == 128 * 80, "the projection's first matrix is the largest in float"


def test_a_berts_features_are_torchs_but_for_the_rounding(sentences: Path, bert: str) -> None:
    texts = ["sharp", "a very blurry and somewhat dark photo of two cats", "", "long " * 40]
    model = create(bert)
    with torch.no_grad():
        theirs = model.encode_text(open_clip.get_tokenizer(bert)(texts), normalize=True).numpy()
    cosines = (run(sentences, bert, texts) * theirs).sum(1)
    assert COSINE <= cosines.min() < 1 - 1e-6, "it is rounded"


def test_a_berts_features_depend_on_the_text_alone(sentences: Path, bert: str) -> None:
    texts = ["grainy", "", "a blurry photo of a dog on a chair", "washed out"]
    for output in ("text", "familiarity"):
        alone = [run(sentences, bert, [text], output)[0] for text in texts]
        assert np.abs(run(sentences, bert, texts, output) - alone).max() < 1e-5


def test_words_of_the_training_are_familiar_and_topics_are_not(sentences: Path, bert: str) -> None:
    familiarity = run(sentences, bert, [*LOOKS, *TOPICS], "familiarity")
    assert familiarity[: len(LOOKS)].min() > FAMILIAR > familiarity[len(LOOKS) :].max()


def test_weights_that_8_bits_cannot_hold_are_refused(
    bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.text.COSINE", 0.9999999)
    with pytest.raises(EngineError, match=r"8-bit weights turn the feature of '.+': cosine [01]\.\d+, less than 0\.9"):
        write_text(create(bert), bert, tmp_path / "text.onnx", LOOKS)
    assert not list(tmp_path.iterdir())


def test_a_linear_layer_is_rounded_by_half_a_step_of_its_block_at_most() -> None:
    linear = nn.Linear(3 * BLOCK, 8)
    with torch.no_grad():
        linear.weight[3] *= 1e-9
        linear.weight[4, :BLOCK] *= 1e3
    rounded = RoundedLinear(linear)(torch.eye(3 * BLOCK)) - linear.bias
    blocks = linear.weight.detach().reshape(8, 3, BLOCK)
    step = (blocks.abs().amax(2, keepdim=True) / 127).clamp_min(2**-14)
    moved = (rounded.detach().T.reshape(8, 3, BLOCK) - blocks).abs()
    assert (moved <= 0.57 * step).all(), "half a step, and what 11 bits leave of the scale 127 times"
    assert moved.max() > 0


def test_rounding_moves_a_weight_by_half_a_step_at_most() -> None:
    weight = torch.randn(50, 16) * torch.logspace(-6, 3, 50)[:, None]
    weight[7] = 0
    rounded = RoundedEmbedding(weight)(torch.arange(50))
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((rounded - weight).abs() <= 0.501 * step).all()


def test_the_manifest_says_context_and_scale(exported: Exported, checkpoint: Path) -> None:
    text = Bundle(exported.bundle).manifest.text
    assert text is not None
    assert text.context == 64
    assert text.scale == pytest.approx(load(checkpoint)[1].clip.logit_scale.exp().item())


def test_other_tokenizers_are_left_out_and_it_says_so(
    checkpoint: Path,
    exported: Exported,
    copying: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copying(exported.bundle)
    monkeypatch.setattr("export.__main__.is_supported", lambda _: False)
    manifest = export(checkpoint, tmp_path, None)
    assert manifest.text is None
    assert "no text.onnx: test-tower does not read text by CLIP's own tokenizer, or" in capsys.readouterr().out
    assert not {"text.onnx", "tokenizer.json"} & {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("change", "supported"),
    [
        ({}, True),
        ({"hf_pooler_type": "cls_pooler"}, False),
        ({"hf_pooler_type": None}, False),
        ({"tokenizer_kwargs": {"strip_sep_token": True}}, False),
    ],
)
def test_what_is_supported_of_bert(bert: str, change: dict[str, object], supported: bool, tmp_path: Path) -> None:
    config = open_clip.get_model_config(bert)
    (tmp_path / "test-other.json").write_text(json.dumps(config | {"text_cfg": config["text_cfg"] | change}))
    open_clip.add_model_config(tmp_path / "test-other.json")
    assert is_supported("test-other") is supported


def test_what_is_supported() -> None:
    assert is_supported("ViT-B-32")
    assert is_supported("coca_ViT-B-32")
