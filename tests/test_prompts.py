"""Prompts at run time: open_clip's token ids, torch's values, and errors that say what to do."""

from __future__ import annotations

import json
import shutil
import sys
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from declip_rt import Bundle, BundleError, ConfigError, Prompts, Scorer, Unavailable
from declip_rt.images.views import write_views
from declip_rt.prompts import Tokenizer, parse
from tests.conftest import picture
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
def own(prompted: Path) -> Scorer:
    return Scorer(prompted, "cpu", prompts=[CALM, CAT])


@pytest.fixture
def copy(prompted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prompted, tmp_path / "copy"))


open_clips = cache(open_clip.get_tokenizer)


def theirs(texts: list[str], context: int = CONTEXT) -> np.ndarray:
    return open_clips("test-tower")(texts, context_length=context).numpy()


def all_ids(text: str) -> list[int]:
    """open_clip's ids, uncut."""
    ids = theirs([text], 4000)[0]
    return ids[: int(ids.argmax()) + 1].tolist()  # up to the end token


@pytest.mark.parametrize("text", ODD)
def test_ids_of_odd_texts_are_open_clips(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.ids(text) == all_ids(text)


@settings(max_examples=400, deadline=None)
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


def test_a_long_text_is_an_error_and_not_cut(tokenizer: Tokenizer) -> None:
    tokenizer(["word " * (CONTEXT - 2)])
    with pytest.raises(ConfigError, match=r"'word word .* has 31 tokens, the model reads 30; shorten it"):
        tokenizer(["word " * (CONTEXT - 1)])


def test_the_names_of_control_tokens_are_text(tokenizer: Tokenizer) -> None:
    start, *middle, end = tokenizer.ids("a <end_of_text> <start_of_text> b")
    assert not {start, end} & set(middle)


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


def test_the_sides_are_antonyms(prompted: Path) -> None:
    swapped = Prompts("swapped", CALM.low, CALM.high)
    with Scorer(prompted, "cpu", prompts=[CALM, swapped]) as scorer:
        value = scorer.score(picture()).prompts
    assert value["calm"] + value["swapped"] == pytest.approx(1, abs=1e-6)


def test_values_depend_on_the_image_alone(own: Scorer) -> None:
    images = [picture(seed, 200 + 9 * seed) for seed in range(11)]
    together = [list(score.prompts.values()) for score in own.score_many(images)]
    alone = [list(own.score(image).prompts.values()) for image in images]
    assert np.abs(np.array(together) - np.array(alone)).max() < 1e-4
    assert np.ptp(np.array(alone), axis=0).min() > 1e-4


def test_arguments() -> None:
    arguments = ["sharp photo:blurry photo", " calm = a calm scene : a busy scene", "calm=quiet:loud", "a:b=c"]
    assert parse(arguments, "semantic") == (
        Prompts("sharp photo", ("sharp photo",), ("blurry photo",), "semantic"),
        Prompts("calm", ("a calm scene", "quiet"), ("a busy scene", "loud"), "semantic"),
        Prompts("a", ("a",), ("b=c",), "semantic"),
    )


@pytest.mark.parametrize("argument", ["", "sharp", "sharp:", ":blurry", "name= :low", "a:b:c", "name="])
def test_malformed_arguments_show_the_form(argument: str) -> None:
    with pytest.raises(ConfigError, match=r"\[NAME=\]HIGH:LOW"):
        parse([argument], "perceptual")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", ("a",), ("b",)), "printable name"),
        (("new\nline", ("a",), ("b",)), "printable name"),
        (("x", "a calm scene", ("b",)), "tuple of texts"),
        (("x", (), ("b",)), "tuple of texts"),
        (("x", ("a",), (" ",)), "tuple of texts"),
        (("x", ("a",), ("b",), "visual"), "perceptual or semantic"),
    ],
)
def test_wrong_prompts(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Prompts(*arguments)  # type: ignore[arg-type]


def test_two_of_one_name(prompted: Path) -> None:
    with pytest.raises(ConfigError, match="two prompts are called 'calm'"):
        Scorer(prompted, "cpu", prompts=[CALM, CALM])


def test_a_bundle_without_text_says_how_to_get_it(copy: Path) -> None:
    file = copy / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"text": None}))
    with pytest.raises(BundleError, match=r"no text tower.*python -m export"):
        Scorer(Bundle(copy).path, "cpu", prompts=[CALM])


@pytest.mark.parametrize("library", ["tokenizers", "ftfy"])
def test_a_missing_library_names_the_extra(prompted: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Unavailable, match=rf'{library} cannot be imported .*; pip install "declip-rt\[prompts\]"'):
        Scorer(prompted, "cpu", prompts=[CALM])
    Scorer(prompted, "cpu").close()
