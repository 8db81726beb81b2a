"""Prompts at run time, beside open_clip and torch: the same token ids, the same values."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from declip_rt import Prompts, Scorer
from declip_rt.images.views import write_views
from declip_rt.prompts import Tokenizer
from export.tokenizer import write_tokenizer
from tests.conftest import examples, picture
from tests.export.conftest import ODD, Exported
from train.clip import encode_texts
from train.model import load

CONTEXT = 32
LONGEST = 4000  # tokens of the longest text of ODD, or more
CALM = Prompts("calm", ("a calm scene", "a quiet photo"), ("a busy scene",))
CAT = Prompts("cat", ("a photo of a cat",), ("a photo of a dog",), "semantic")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """CLIP's own, as the export writes it."""
    file = tmp_path_factory.mktemp("clip") / "tokenizer.json"
    write_tokenizer("ViT-B-32", file)
    return Tokenizer(file, CONTEXT)


@pytest.fixture(scope="module")
def own(exported: Exported) -> Iterator[Scorer]:
    with Scorer(exported.bundle, "cpu", prompts=[CALM, CAT]) as scorer:
        yield scorer


open_clips = cache(open_clip.get_tokenizer)


def theirs(texts: list[str], context: int = CONTEXT) -> np.ndarray:
    return open_clips("ViT-B-32")(texts, context_length=context).numpy()


def all_ids(text: str) -> list[int]:
    """open_clip's ids, uncut."""
    ids = theirs([text], 4000)[0]
    return ids[: int(ids.argmax()) + 1].tolist()  # up to the end token


@pytest.mark.parametrize("text", ODD)
def test_ids_of_odd_texts_are_open_clips(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.ids(text) == all_ids(text)


@examples(400)
@given(
    st.text(max_size=60) | st.lists(st.sampled_from(["'s", "'", "&amp;", "a", "1", "!", " ", "é", "ι"])).map("".join)
)
def test_ids_of_any_text_are_open_clips(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.ids(text) == all_ids(text)


@pytest.fixture(scope="module")
def pieces(bert: str, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The tokenizer of a BERT, as the export writes it, for texts of any length."""
    file = tmp_path_factory.mktemp("bert") / "tokenizer.json"
    write_tokenizer(bert, file)
    return Tokenizer(file, LONGEST)


def padded(name: str, text: str) -> list[int]:
    """open_clip's ids by BERT's tokenizer, padded."""
    ids: list[int] = open_clips(name)([text], LONGEST)[0].tolist()
    return ids


@pytest.mark.parametrize("text", ODD)
def test_berts_ids_of_odd_texts_are_open_clips(pieces: Tokenizer, bert: str, text: str) -> None:
    assert pieces([text])[0].tolist() == padded(bert, text)


@examples(100)
@given(st.text(max_size=60))
def test_berts_ids_of_any_text_are_open_clips(pieces: Tokenizer, bert: str, text: str) -> None:
    assert pieces([text])[0].tolist() == padded(bert, text)


def test_the_names_of_berts_control_tokens_are_text(pieces: Tokenizer) -> None:
    start, *middle, end = pieces.ids("a [SEP] [PAD] b [MASK] c [CLS]")
    assert not {0, start, end} & set(middle)
    assert len(middle) > 7


def test_texts_are_padded_as_open_clip_does(tokenizer: Tokenizer) -> None:
    texts = ["a sharp photo", "", "it's 模糊"]
    ours = tokenizer(texts)
    assert ours.dtype == np.int64
    assert np.array_equal(ours, theirs(texts))


def test_the_values_are_torchs(own: Scorer, checkpoint: Path) -> None:
    config, model, _ = load(checkpoint)
    pictures = [picture(seed, 200, 150) for seed in range(8)]
    views = np.zeros((len(pictures), *config.views.shape), np.uint8)
    for rgb, slot in zip(pictures, views, strict=True):
        write_views(rgb, config.views, slot)
    with torch.no_grad():
        _, perceptual, semantic = model(torch.from_numpy(views))
        for prompts, feature in ((CALM, perceptual), (CAT, semantic)):
            sides = [encode_texts(model.clip, config.clip.model, list(texts)) for texts in (prompts.high, prompts.low)]
            anchors = torch.stack([F.normalize(side.mean(0), dim=0) for side in sides])
            shares = (model.clip.logit_scale.exp() * feature @ anchors.T).softmax(1)[:, 0].numpy()
            read = [score.prompts[prompts.name] for score in own.score_many(pictures)]
            assert read == pytest.approx(shares, abs=2e-3)  # the embedding is kept in 8 bits
            assert np.abs(shares - 0.5).max() > 4e-3, "values of no opinion would prove nothing"
