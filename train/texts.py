"""The grammar of the two texts: how a photo looks (perceptual), and what it shows (semantic)."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from train import imagenet
from train.distortions import KINDS, RGB, Distortion
from train.distortions.kind import LUMA
from train.verdicts import BEAUTY_WORDS, QUALITY_WORDS
from train.words import CLEAN, FAULTS, MEASURED, Words

QUALITY = tuple(phrases[0] for phrases in QUALITY_WORDS)  # the level prompts, from bad to excellent
BEAUTY = tuple(phrases[0] for phrases in BEAUTY_WORDS)
ADVERBS = (  # by strength; the first of each is the plain one
    ("slightly", "a little", "a bit", "mildly"),
    ("somewhat", "rather", "moderately", "fairly"),
    ("clearly", "noticeably", "visibly", "quite"),
    ("very", "really", "seriously"),
    ("extremely", "severely", "terribly", "awfully"),
)
AMOUNTS = (  # by strength, before a noun that has no article
    ("slight", "a trace of", "a hint of"),
    ("some", "moderate", "noticeable"),
    ("clear", "visible", "obvious"),
    ("strong", "heavy", "a lot of"),
    ("extreme", "severe", "massive"),
)
PRAISE = ("nicely", "beautifully")  # said of what is no fault
UNATTRIBUTIVE = ("a little", "a bit")  # "a a bit dark photo"
PLAIN = 1.5  # the strength from which on people say the word alone
GRADED, MEASURING = 0.15, 0.3  # how often a verdict is the text, and a measured attribute is added

ATTRIBUTIVE = ("a {} photo", "a {} picture", "a {} image", "{} photo", "this is a {} photograph", "a {} shot")
PREDICATIVE = (
    "a photo that is {}",
    "a photo that looks {}",
    "this picture looks {}",
    "the image is {}",
    "the photo appears {}",
    "{}",
    "overall it is {}",
)
NOMINAL = (
    "a photo with {}",
    "an image with {}",
    "the picture shows {}",
    "{}",
    "{} in the picture",
    "one notices {}",
)
SUFFERING = ("the photo suffers from {}", "spoiled by {}", "the image is marred by {}")  # said of faults
SEMANTIC = (
    "a photo of {}",
    "a picture of {}",
    "a picture showing {}",
    "this shows {}",
    "{}",
    "an image of {}",
    "a photograph of {}",
)
PERCEPTUAL = (*ATTRIBUTIVE[:2], *PREDICATIVE[:4])  # what any adjectives fit
HARM = (0.5, 1.5, 3.0, 4.5)  # sums of strengths that part the levels of quality
FINE = ("sharpness", "noisiness")  # what other distortions than those of color and tone disturb
CONNECTING = "a|an|and|as|at|by|for|from|having|in|into|of|on|or|that|the|to|used|usually|which|whose|with"
LONGEST = 16  # words of a caption or a gloss that are kept
KINDS_EACH = 3  # sentences on what a class of ImageNet is a kind of


def measure(rgb: RGB) -> dict[str, float]:
    """What can be read off the pixels.

    Mean luma, colourfulness (Hasler & Suesstrunk, 2003), RMS contrast and noise, in grey levels of 255. The noise is
    Immerkaer's (1996), by the median, which edges move less. Sharpness is the logarithm of the Laplacian's energy over
    the luma's.
    """
    padded = np.pad(rgb @ LUMA, 1, mode="edge")
    down, right = np.diff(padded, 2, axis=0), np.diff(padded, 2, axis=1)
    laplacian = down[:, 1:-1] + right[1:-1]
    red, green, blue = np.moveaxis(rgb[::2, ::2].astype(np.float32), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    rg, yb = red - green, 0.5 * (red + green) - blue
    return {
        "brightness": float(luma.mean()),
        "colorfulness": float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())),
        "contrast": float(luma.std()),
        "sharpness": float(np.log10((np.square(laplacian).mean() + 1) / (padded.var() + 1))),
        "noisiness": float(np.median(np.abs(np.diff(down[::2], 2, axis=1))) / (6 * 0.6745)),
    }


def looks(rgb: RGB, distortions: tuple[Distortion, ...], rng: np.random.Generator) -> str:
    """How the photo looks, as adjectives: its distortions or, where it has less than two, a measured attribute, too."""
    words = [_attribute(distortion, rng) for distortion in distortions]
    if not words or (len(words) == 1 and rng.random() < MEASURING):
        words += _measured(distortions, lambda: measure(rgb), rng)
    if not distortions and (not words or rng.random() < 0.7):
        words.insert(0, _pick(CLEAN.adjectives, rng))
    return " and ".join(words)


def comments(
    distortions: tuple[Distortion, ...], measured: dict[str, float], rng: np.random.Generator, count: int
) -> tuple[str, ...]:
    """`count` different perceptual texts of one photo, by what was done to it and what `measure` found."""
    said: dict[str, None] = {}
    while len(said) < count:
        said[comment(distortions, measured, rng)] = None
    return tuple(said)


def comment(distortions: tuple[Distortion, ...], measured: dict[str, float], rng: np.random.Generator) -> str:
    """A text such as a critic or a passer-by would write: words, a sentence, or a verdict."""
    if rng.random() < GRADED:
        return _pick(QUALITY_WORDS[_level(distortions)], rng)
    if rng.random() < MEASURING and (words := _measured(distortions, lambda: measured, rng)):
        one = _attribute(distortions[0], rng) if distortions else _pick(CLEAN.adjectives, rng)
        return _filled(PERCEPTUAL, f"{one} and {words[0]}" if len(distortions) < 2 else words[0], rng)
    if not distortions:
        return _clean(rng)
    if len(distortions) == 1:
        return _one(distortions[0], rng)
    first, second = (distortions[i] for i in rng.permutation(len(distortions))[:2])
    if rng.random() < 0.4:
        return f"{_filled(ATTRIBUTIVE[:3], _attribute(first, rng), rng)} with {_noun(second, rng)}"
    joined = _pick((" and ", ", ", " and also "), rng).join((_state(first, rng), _state(second, rng)))
    return _filled(PREDICATIVE, joined, rng)


def _one(distortion: Distortion, rng: np.random.Generator) -> str:
    words = FAULTS[distortion.kind]
    form = rng.choice(5, p=(0.3, 0.25, 0.2, 0.15, 0.1))
    if form == 0:
        return _filled(ATTRIBUTIVE, _attribute(distortion, rng), rng)
    if form == 1:
        return _filled(PREDICATIVE, _state(distortion, rng), rng)
    if form == 2:
        faulty = KINDS[distortion.kind].fault
        return _filled((*NOMINAL, *SUFFERING) if faulty else NOMINAL, _noun(distortion, rng), rng)
    if form == 3:
        return _filled(words.remarks, _pick(ADVERBS[_rank(distortion)], rng), rng)
    if distortion.strength < PLAIN:
        return _attribute(distortion, rng)
    return _filled(("{}", "{} photo", "{} picture"), _pick(words.adjectives, rng), rng)


def _clean(rng: np.random.Generator) -> str:
    form = rng.choice(4, p=(0.4, 0.25, 0.2, 0.15))
    if form == 3:
        return _pick(CLEAN.remarks, rng)
    sentences = (ATTRIBUTIVE, PREDICATIVE, NOMINAL)[form]
    return _filled(sentences, _pick((CLEAN.adjectives, CLEAN.states, CLEAN.nouns)[form], rng), rng)


def _attribute(distortion: Distortion, rng: np.random.Generator) -> str:
    """An adverb and an adjective, which may stand before a noun."""
    adverbs = [adverb for adverb in ADVERBS[_rank(distortion)] if adverb not in UNATTRIBUTIVE]
    return f"{_adverb(distortion, adverbs, rng)} {_pick(FAULTS[distortion.kind].adjectives, rng)}"


def _state(distortion: Distortion, rng: np.random.Generator) -> str:
    words = FAULTS[distortion.kind]
    adverb = _adverb(distortion, ADVERBS[_rank(distortion)], rng)
    return f"{adverb} {_pick((*words.adjectives, *words.states), rng)}"


def _noun(distortion: Distortion, rng: np.random.Generator) -> str:
    noun, amounts = _pick(FAULTS[distortion.kind].nouns, rng), AMOUNTS[_rank(distortion)]
    if noun.startswith(("a ", "an ", "too ", "the ")):
        return noun
    return f"{_pick(amounts, rng)} {noun}"


def _adverb(distortion: Distortion, adverbs: list[str] | tuple[str, ...], rng: np.random.Generator) -> str:
    if not KINDS[distortion.kind].fault:
        adverbs = PRAISE if rng.random() < 0.5 else ADVERBS[_rank(distortion)][:1]
    return _pick(adverbs, rng)


def _measured(
    distortions: tuple[Distortion, ...], measured: Callable[[], dict[str, float]], rng: np.random.Generator
) -> list[str]:
    """The words for one attribute, where it is out of the ordinary."""
    tonal = all(KINDS[distortion.kind].family in ("color", "tone") for distortion in distortions)
    name = _pick([name for name in MEASURED if tonal or name not in FINE], rng)
    thresholds, levels = MEASURED[name]
    words = levels[int(np.searchsorted(thresholds, measured()[name]))]
    return [_pick(words, rng)] if words else []


def _rank(distortion: Distortion) -> int:
    """0 to 4, by strength."""
    return int(np.clip(round(distortion.strength), 1, 5)) - 1


def _pick(some: list[str] | tuple[str, ...], rng: np.random.Generator) -> str:
    return some[int(rng.integers(len(some)))]


def _filled(sentences: tuple[str, ...], words: str, rng: np.random.Generator) -> str:
    return article(_pick(sentences, rng).format(words))


def article(sentence: str) -> str:
    """The sentence with "an" for each "a" before a vowel."""
    return re.sub(r"\b([Aa]) (?=[aeiouAEIOU])", r"\1n ", sentence)


def quality(distortions: tuple[Distortion, ...]) -> str:
    """The level text for a photo that had no fault before: the stronger its faults, the lower."""
    return QUALITY[_level(distortions)]


def _level(distortions: tuple[Distortion, ...]) -> int:
    """0 (bad) to 4 (excellent)."""
    harm = sum(distortion.strength for distortion in distortions if KINDS[distortion.kind].fault)
    return 4 - int(np.searchsorted(HARM, harm, side="right"))


def verdict(
    words: tuple[tuple[str, ...], ...], score: float, centres: tuple[float, ...], rng: np.random.Generator
) -> str:
    """A phrase for a photo of this score, from QUALITY_WORDS or BEAUTY_WORDS; between two levels, from either."""
    return _pick(words[rng.choice(5, p=level_weights(score, centres))], rng)


def vocabulary() -> tuple[str, ...]:
    """All that the perceptual texts say, in plain form, without adverbs: the words that a model is familiar with."""
    said = [phrase for words in (*FAULTS.values(), CLEAN) for phrase in _phrases(words)]
    said += [word for _, levels in MEASURED.values() for level in levels for word in level]
    said += [phrase for levels in (QUALITY_WORDS, BEAUTY_WORDS) for level in levels for phrase in level]
    return tuple(dict.fromkeys(said))


def _phrases(words: Words) -> list[str]:
    remarks = [" ".join(remark.replace("{}", "").split()) for remark in words.remarks]
    return [*words.adjectives, *words.states, *words.nouns, *remarks]


def perceptual(adjectives: str, rng: np.random.Generator | None = None) -> str:
    """A sentence that says how the photo looks: the plain one, or one that `rng` picks."""
    return article((_pick(PERCEPTUAL, rng) if rng else PERCEPTUAL[0]).format(adjectives))


def semantic(label: str, rng: np.random.Generator | None = None) -> str:
    """A sentence that says what the photo shows: the plain one, or one that `rng` picks.

    `label` may be a caption such as "A man rides a horse."; its first 16 words are kept.
    """
    return _showing(_pick(SEMANTIC, rng) if rng else SEMANTIC[0], label)


def semantics(label: str, rng: np.random.Generator, count: int) -> tuple[str, ...]:
    """`count` different sentences that say what the photo shows, and what a dictionary says of it; none of no label."""
    sentences = [SEMANTIC[i] for i in rng.permutation(len(SEMANTIC))[:count]] if label else []
    known = imagenet.numbers().get(label.lower(), ())
    explained = explain(known[0], rng) if len(known) == 1 else ()  # a crane may be a bird or a machine
    return tuple(dict.fromkeys([*(_showing(sentence, label) for sentence in sentences), *explained]))


def explain(number: int, rng: np.random.Generator) -> tuple[str, ...]:
    """What a dictionary says of an ImageNet class: its gloss, and sentences on a few of the kinds it belongs to."""
    known = imagenet.classes()[number]
    drawn = rng.permutation(len(known.kinds))[:KINDS_EACH]
    return (gloss(known.definition), *(_showing(_pick(SEMANTIC, rng), a(known.kinds[i])) for i in drawn))


def gloss(definition: str) -> str:
    """A definition's first clause, without a remark in brackets before it; at most 16 words, and no loose end."""
    return re.sub(f"( ({CONNECTING}))+$", "", _short(re.sub(r"^\(.*?\)\s*", "", definition).split(";")[0]))


def a(noun: str) -> str:
    """The noun with its article; a plural has none."""
    plural = noun.endswith("s") and not noun.endswith(("ss", "us", "is"))
    return noun if plural else article(f"a {noun}")


def _showing(sentence: str, label: str) -> str:
    shown = re.sub("^(A|An|The) ", lambda article: article[0].lower(), _short(label))
    return sentence.format(shown) if shown else "a photo"


def _short(text: str) -> str:
    return " ".join(text.split()[:LONGEST]).rstrip(".,")


def joint(adjectives: str, label: str) -> str:
    return f"{perceptual(adjectives)} of {label}" if label else perceptual(adjectives)


def level_centres(scores: list[float]) -> tuple[float, ...]:
    """The scores that the five level texts stand for: quantiles of the training photos' scores."""
    return tuple(np.quantile(scores, (0.1, 0.3, 0.5, 0.7, 0.9)).tolist())


def level_weights(score: float, centres: tuple[float, ...]) -> np.ndarray:
    """Soft target float32 (L,) over the level texts: a score between two level centres belongs to both."""
    position = float(np.interp(score, centres, range(len(centres))))
    return np.maximum(0.0, 1.0 - np.abs(np.arange(len(centres)) - position)).astype(np.float32)
