"""Texts say what was done to the photo, and fit the tower that reads them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product

import numpy as np
import open_clip
import pytest
from PIL import Image, ImageFilter

from tests.conftest import picture
from train import texts
from train.distortions import KINDS, Distortion
from train.model import ATTRIBUTES


@pytest.mark.parametrize("kind", KINDS)
def test_a_distortion_is_named_with_its_strength(kind: str) -> None:
    adjectives = texts.ADJECTIVES[kind]
    for strength, adverb in ((0.6, "slightly"), (3.2, "clearly"), (5.4, "extremely")):
        said = texts.looks(picture(), (Distortion(kind, strength),), np.random.default_rng(0))
        adverbs = (adverb,) if KINDS[kind].fault else (adverb, *texts.PRAISE)
        assert said.startswith(tuple(f"{adverb} {adjective}" for adverb in adverbs for adjective in adjectives))


def test_what_is_no_fault_is_praised_now_and_then() -> None:
    said = {texts.looks(picture(), (Distortion("shallow", 4),), np.random.default_rng(i)).split()[0] for i in range(40)}
    assert said == {"very", *texts.PRAISE}


def test_no_two_kinds_share_a_word() -> None:
    words = {
        kind: {word for said in texts.ADJECTIVES[kind] for word in said.split() if len(word) > 3} for kind in KINDS
    }
    assert words.keys() == texts.ADJECTIVES.keys()
    for one, two in combinations(KINDS, 2):
        assert not words[one] & words[two]


def test_a_clean_photo_is_not_called_distorted() -> None:
    adjectives = [word for words in texts.ADJECTIVES.values() for word in words if word not in ("dark", "low contrast")]
    rgb = picture()
    for seed in range(50):
        said = texts.looks(rgb, (), np.random.default_rng(seed))
        assert not any(word in said for word in adjectives)


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
    ("change", "said", "unsaid"),
    [
        (lambda rgb: rgb // 5, "very dark", "bright"),
        (lambda rgb: 255 - (255 - rgb) // 5, "very bright", "dark"),
        (lambda rgb: rgb.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8), "almost colorless", "very colorful"),
        (lambda rgb: 100 + rgb // 8, "very flat", "contrasty"),
        (lambda rgb: rgb, "very rough", "smooth"),
        (lambda rgb: rgb[:, :1].repeat(320, 1), "very smooth", "rough"),
    ],
    ids=["darkened", "brightened", "desaturated", "flattened", "noisy", "streaked"],
)
def test_words_follow_the_measurements(change: Callable[[np.ndarray], np.ndarray], said: str, unsaid: str) -> None:
    rgb = change(picture())
    words = " / ".join(texts.looks(rgb, (), np.random.default_rng(seed)) for seed in range(40))
    assert said in words
    assert unsaid not in words


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
    rgb, fine = picture(), {word for name in texts.FINE for word in texts.MEASURED[name][1] if word}
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
    """Two distortions at their wordiest, a measured attribute and a long label: nothing is cut off."""
    tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=32)

    def length(text: str) -> int:
        return len(tokenizer.encode(text))

    wordiest = [
        max((" ".join(pair) for pair in product((*texts.ADVERBS, *texts.PRAISE), adjectives)), key=length)
        for adjectives in texts.ADJECTIVES.values()
    ]
    measured = max((word for _, words in texts.MEASURED.values() for word in words), key=length)
    captions = [
        texts.joint(f"{one} and {two} and {measured}", "bicycle-built-for-two, tandem bicycle")
        for one, two in combinations(wordiest, 2)
    ]
    assert max(map(length, captions)) + 2 <= 32, "the tokenizer adds a start and an end"


def test_quality_falls_with_faults_and_with_them_alone() -> None:
    fallen = [texts.quality((Distortion("blur", strength),)) for strength in (0.5, 2, 4, 5)]
    assert fallen == list(texts.QUALITY[3::-1])
    assert texts.quality(()) == texts.quality((Distortion("shallow", 5),)) == texts.QUALITY[4]
    assert texts.quality((Distortion("noise", 3), Distortion("dark", 3))) == texts.QUALITY[0]
