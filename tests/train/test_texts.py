"""Texts say what was done to the photo, and fit the tower that reads them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import combinations, product

import numpy as np
import open_clip
import pytest
from PIL import Image, ImageFilter

from tests.conftest import picture
from train import imagenet, texts
from train.distortions import KINDS, Distortion
from train.model import ATTRIBUTES
from train.verdicts import BEAUTY_WORDS, QUALITY_WORDS
from train.words import CLEAN, FAULTS, MEASURED, Words

ORDINARY = {"brightness": 120.0, "colorfulness": 40.0, "contrast": 55.0, "sharpness": -0.5, "noisiness": 1.0}


def said_of(*distortions: Distortion, count: int = 60, seed: int = 0) -> tuple[str, ...]:
    return texts.comments(distortions, ORDINARY, np.random.default_rng(seed), count)


def names(words: Words, said: str) -> bool:
    """Whether a text has one of the words, or a remark with any adverb in it."""
    if any(phrase in said for phrase in (*words.adjectives, *words.states, *words.nouns)):
        return True
    return any(all(part in said for part in remark.split("{}")) for remark in words.remarks)


@pytest.mark.parametrize("kind", KINDS)
def test_a_distortion_is_named_with_its_strength(kind: str) -> None:
    for strength in (0.6, 3.2, 5.4):
        said = texts.looks(picture(), (Distortion(kind, strength),), np.random.default_rng(0))
        adverbs = texts.ADVERBS[int(np.clip(round(strength), 1, 5)) - 1] + (() if KINDS[kind].fault else texts.PRAISE)
        assert said.startswith(
            tuple(f"{adverb} {adjective}" for adverb in adverbs for adjective in FAULTS[kind].adjectives)
        )


def test_what_is_no_fault_is_praised_now_and_then() -> None:
    said = {texts.looks(picture(), (Distortion("shallow", 4),), np.random.default_rng(i)).split()[0] for i in range(40)}
    assert said == {"very", *texts.PRAISE}


def test_looks_alike_share_words_and_each_has_its_own() -> None:
    assert FAULTS.keys() == KINDS.keys()
    every = Counter(word for words in FAULTS.values() for word in {*words.adjectives, *words.states, *words.nouns})
    for words in FAULTS.values():
        assert any(every[word] == 1 for word in words.adjectives)
        assert all(some for some in (words.adjectives, words.states, words.nouns, words.remarks))
    assert every["blurry"] > 2
    assert every["compressed"] > 3
    assert every["noisy"] > 3


@pytest.mark.parametrize("kind", KINDS)
def test_comments_name_the_fault_in_many_ways(kind: str) -> None:
    said = said_of(Distortion(kind, 3.0))
    verdicts = QUALITY_WORDS[1 if KINDS[kind].fault else 4]
    named = [one for one in said if one not in verdicts]
    assert all(names(FAULTS[kind], one) for one in named)
    assert len(set(said)) == 60 > len(named) > 40
    assert any(len(one.split()) < 3 for one in named), "single words, too"
    assert not any("{" in one for one in said)


def test_comments_on_two_faults_name_both_or_one_with_a_measurement() -> None:
    said = said_of(Distortion("noise", 2.0), Distortion("dark", 2.0))
    both = [one for one in said if names(FAULTS["noise"], one) and names(FAULTS["dark"], one)]
    assert len(both) > 30
    assert {one for one in said if one not in both} <= set(QUALITY_WORDS[1])


def test_comments_on_a_clean_photo_praise_it() -> None:
    assert all(names(CLEAN, one) or one in QUALITY_WORDS[4] for one in said_of())


def test_the_stronger_the_fault_the_stronger_the_words() -> None:
    for strength, rank in ((1.0, 0), (5.0, 4)):
        said = " / ".join(said_of(Distortion("noise", strength), count=100))
        others = [
            word for other in range(5) if other != rank for word in (*texts.ADVERBS[other], *texts.AMOUNTS[other])
        ]
        assert any(f"{adverb} noisy" in said for adverb in texts.ADVERBS[rank])
        assert not any(f"{word} {noun}" in said for word in others for noun in ("noisy", "grainy", "grain", "noise"))


def test_articles_fit() -> None:
    for kind in KINDS:
        for one in said_of(Distortion(kind, 5.0), count=100, seed=1):
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|\ba (a|little|bit) ", one), one


def test_a_clean_photo_is_not_called_distorted() -> None:
    measured = {word for _, levels in MEASURED.values() for level in levels for word in level}
    adjectives = [word for words in FAULTS.values() for word in words.adjectives if word not in measured]
    praise = " ".join((*CLEAN.adjectives, *measured))
    rgb = picture()
    for seed in range(50):
        said = texts.looks(rgb, (), np.random.default_rng(seed))
        assert not any(re.search(rf"\b{word}\b", said) for word in adjectives if word not in praise), said


def test_verdicts_follow_the_score() -> None:
    centres = (1.0, 2.0, 3.0, 4.0, 5.0)
    for words in (QUALITY_WORDS, BEAUTY_WORDS):
        said = {score: {texts.verdict(words, score, centres, np.random.default_rng(i)) for i in range(300)}
                for score in (0.0, 2.5, 9.0)}  # fmt: skip
        assert said[0.0] == set(words[0])
        assert said[2.5] == {*words[1], *words[2]}
        assert said[9.0] == set(words[4])
    assert not {word for level in QUALITY_WORDS for word in level} & {word for level in BEAUTY_WORDS for word in level}


def test_the_vocabulary_holds_what_is_said() -> None:
    familiar = texts.vocabulary()
    assert 500 < len(familiar) == len(set(familiar)) <= 1000
    assert {"out of focus", "unsharp", "compression artifacts", "low quality", "stunning composition"} <= set(familiar)
    assert {*texts.QUALITY, *texts.BEAUTY} <= set(familiar)
    assert not any("{" in phrase or "  " in phrase or phrase != phrase.strip() for phrase in familiar)


def test_a_dictionary_explains_labels_that_imagenet_knows() -> None:
    shown = texts.semantics("tench", np.random.default_rng(0), 2)
    assert len(shown) == 2 + 1 + texts.KINDS_EACH
    assert all("tench" in one for one in shown[:2])
    assert shown[2].startswith("freshwater dace-like game fish")
    kinds = imagenet.classes()[0].kinds
    assert all(any(one.endswith(texts.a(kind)) for kind in kinds) for one in shown[3:])
    assert "large aggressive shark widespread in warm seas" in texts.semantics(
        "Great white shark", np.random.default_rng(0), 2
    )
    for unknown in ("crane", "my neighbour"):  # a crane is a bird and a machine
        assert len(texts.semantics(unknown, np.random.default_rng(0), 2)) == 2
    assert texts.semantics("", np.random.default_rng(0), 2) == ()


def test_measurements_follow_the_pixels() -> None:
    rgb = picture()
    grey = rgb.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8)
    assert texts.measure(rgb // 3)["brightness"] < 0.4 * texts.measure(rgb)["brightness"]
    assert texts.measure(grey)["colorfulness"] == pytest.approx(0, abs=1e-3)
    smooth = np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(1)))
    assert texts.measure(smooth)["sharpness"] < texts.measure(rgb)["sharpness"] - 1
    assert texts.measure(rgb // 2)["sharpness"] == pytest.approx(texts.measure(rgb)["sharpness"], abs=0.05)
    assert texts.measure(rgb)["noisiness"] == pytest.approx(12, rel=0.1), "picture() adds noise of that deviation"
    assert texts.measure(rgb // 2)["contrast"] == pytest.approx(texts.measure(rgb)["contrast"] / 2, rel=0.05)


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        (lambda rgb: rgb // 5, "brightness", 0),
        (lambda rgb: 255 - (255 - rgb) // 5, "brightness", 4),
        (lambda rgb: rgb.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8), "colorfulness", 0),
        (lambda rgb: 100 + rgb // 8, "contrast", 0),
        (lambda rgb: rgb, "noisiness", 4),
        (lambda rgb: rgb[:, :1].repeat(320, 1), "noisiness", 0),
    ],
    ids=["darkened", "brightened", "desaturated", "flattened", "noisy", "streaked"],
)
def test_words_follow_the_measurements(change: Callable[[np.ndarray], np.ndarray], name: str, level: int) -> None:
    rgb = change(picture())
    said = [one for seed in range(60) for one in texts.looks(rgb, (), np.random.default_rng(seed)).split(" and ")]
    levels = MEASURED[name][1]
    assert set(said) & set(levels[level])
    assert not set(said) & {word for other in levels if other is not levels[level] for word in other}


def test_the_three_captions() -> None:
    assert texts.perceptual("very dark") == "a very dark photo"
    assert texts.semantic("coffee cup") == "a photo of coffee cup"
    assert texts.semantic("") == "a photo"
    assert texts.joint("very dark", "coffee cup") == "a very dark photo of coffee cup"
    assert texts.joint("very dark", "") == "a very dark photo"
    assert texts.perceptual("extremely dark") == "an extremely dark photo"
    assert texts.semantic("A man rides a horse.") == "a photo of a man rides a horse"


def test_sentences_vary_with_the_generator() -> None:
    for sentence in (texts.perceptual, texts.semantic):
        said = {sentence("extremely dark", np.random.default_rng(i)) for i in range(40)}
        assert len(said) >= 5
        assert all("extremely dark" in one and "a extremely" not in one for one in said)


def test_fine_attributes_are_not_measured_through_grain_or_blur() -> None:
    """Noise looks like detail to a measurement, and blur like smoothness."""
    rgb, fine = picture(), {word for name in texts.FINE for level in MEASURED[name][1] for word in level}
    for kind in ("noise", "blur", "jpeg", "haloed"):
        for seed in range(40):
            said = texts.looks(rgb, (Distortion(kind, 3),), np.random.default_rng(seed))
            assert not fine & set(said.split(" and "))


def test_level_weights_are_shares_around_the_score() -> None:
    centres = texts.level_centres(list(range(101)))
    assert centres == (10, 30, 50, 70, 90)
    assert texts.level_weights(60, centres).tolist() == [0, 0, 0.5, 0.5, 0]
    assert texts.level_weights(-5, centres).tolist() == [1, 0, 0, 0, 0]
    assert all(texts.level_weights(x, centres).sum() == pytest.approx(1) for x in range(101))


def test_texts_and_prompts_fit_the_context() -> None:
    two = (Distortion("overexposed", 5), Distortion("garish", 5))
    longest = [
        texts.joint(texts.looks(picture(i), two, np.random.default_rng(i)), "great white shark") for i in range(20)
    ]
    prompts = [text for _, _, pairs in ATTRIBUTES.values() for pair in pairs for text in pair]
    tokens = open_clip.tokenizer.SimpleTokenizer(context_length=32)([*longest, *prompts, *texts.QUALITY, *texts.BEAUTY])
    assert (tokens[:, -1] == 0).all()


def test_the_longest_captions_fit_the_context() -> None:
    """Two distortions at their wordiest, or one and an attribute, and a long label: nothing is cut off."""
    tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=32)

    def length(text: str) -> int:
        return len(tokenizer.encode(text))

    adverbs = [adverb for some in (*texts.ADVERBS, texts.PRAISE) for adverb in some]
    wordiest = [
        max((" ".join(pair) for pair in product(adverbs, words.adjectives)), key=length) for words in FAULTS.values()
    ]
    measured = max((word for _, levels in MEASURED.values() for level in levels for word in level), key=length)
    captions = [
        texts.joint(f"{one} and {two}", "bicycle-built-for-two, tandem bicycle")
        for one, two in combinations([*wordiest, measured], 2)
    ]
    states = [words.states for words in FAULTS.values()]
    longest = sorted({max((state for state in some), key=length) for some in states}, key=length)[-2:]
    captions.append("a photo that is extremely " + " and also extremely ".join(longest))
    assert max(map(length, [*captions, *texts.vocabulary()])) + 2 <= 32, "the tokenizer adds a start and an end"


def test_quality_falls_with_faults_and_with_them_alone() -> None:
    fallen = [texts.quality((Distortion("blur", strength),)) for strength in (0.5, 2, 4, 5)]
    assert fallen == list(texts.QUALITY[3::-1])
    assert texts.quality(()) == texts.quality((Distortion("shallow", 5),)) == texts.QUALITY[4]
    assert texts.quality((Distortion("noise", 3), Distortion("dark", 3))) == texts.QUALITY[0]
