"""The exported text tower gives torch's features, from a table of bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import open_clip
import pytest
import torch
from open_clip.tokenizer import HFTokenizer

from declip_rt import Bundle
from export.__main__ import export
from export.text import COSINE, RoundedEmbedding, is_supported
from tests.export.conftest import Exported
from tests.training import ARCHITECTURE
from train import texts
from train.clip import encode_texts
from train.model import load


def test_names_types_and_shapes(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(str(exported.bundle / "text.onnx"))
    (tokens,), (text,) = session.get_inputs(), session.get_outputs()
    assert (tokens.name, tokens.type, tokens.shape[1:]) == ("tokens", "tensor(int64)", [32])
    assert (text.name, text.type, text.shape[1:]) == ("text", "tensor(float)", [32])
    assert isinstance(tokens.shape[0], str), "the number of texts is free"


def test_the_token_table_is_stored_as_bytes_alone(exported: Exported) -> None:
    tensors = onnx.load(exported.bundle / "text.onnx").graph.initializer
    tables = [tensor for tensor in tensors if list(tensor.dims) == [49408, 32]]
    assert [tensor.data_type for tensor in tables] == [onnx.TensorProto.INT8]


@pytest.mark.parametrize("n", [1, 5])
def test_features_are_torchs_but_for_the_rounding(exported: Exported, checkpoint: Path, n: int) -> None:
    config, model, _ = load(checkpoint)
    captions = [*texts.QUALITY, *texts.BEAUTY][:n]
    tokens = open_clip.get_tokenizer(config.clip.model)(captions).numpy()
    ours = onnxruntime.InferenceSession(str(exported.bundle / "text.onnx")).run(None, {"tokens": tokens})[0]
    with torch.no_grad():
        theirs = encode_texts(model.clip, config.clip.model, captions).numpy()
    assert np.linalg.norm(ours, axis=1) == pytest.approx(1, abs=1e-5)
    assert (ours * theirs).sum(1).min() >= COSINE


def test_rounding_moves_a_weight_by_half_a_step_at_most() -> None:
    weight = torch.randn(50, 16) * torch.logspace(-6, 3, 50)[:, None]
    weight[7] = 0
    rounded = RoundedEmbedding(weight)(torch.arange(50))
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((rounded - weight).abs() <= 0.501 * step).all()


def test_the_manifest_says_context_and_scale(exported: Exported, checkpoint: Path) -> None:
    text = Bundle(exported.bundle).manifest.text
    assert text is not None
    assert text.context == ARCHITECTURE["text_cfg"]["context_length"]
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
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda _: HFTokenizer.__new__(HFTokenizer))
    manifest = export(checkpoint, tmp_path, None)
    assert manifest.text is None
    assert "no text.onnx: test-tower does not read text by CLIP's own tokenizer" in capsys.readouterr().out
    assert not {"text.onnx", "tokenizer.json"} & {path.name for path in tmp_path.iterdir()}


def test_what_is_supported() -> None:
    assert is_supported("ViT-B-32")
    assert is_supported("coca_ViT-B-32")
