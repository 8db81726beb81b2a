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
from tests.conftest import examples, picture
from tests.export.conftest import Exported
from train.clip import encode_texts
from train.model import load

CONTEXT = 32
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
CALM = Prompts("calm", ("a calm scene", "a quiet photo"), ("a busy scene",))
CAT = Prompts("cat", ("a photo of a cat",), ("a photo of a dog",), "semantic")


@pytest.fixture(scope="module")
def tokenizer(prompted: Path) -> Tokenizer:
    return Tokenizer(prompted / "tokenizer.json", CONTEXT)


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
