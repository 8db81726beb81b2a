"""The grammar of the two texts: how a photo looks (perceptual), and what it shows (semantic)."""

from __future__ import annotations

import re

import numpy as np

from train.distortions import KINDS, RGB, Distortion
from train.distortions.kind import LUMA

ADVERBS = ("slightly", "somewhat", "clearly", "very", "extremely")
PRAISE = ("nicely", "beautifully")  # said of what is no fault
ADJECTIVES: dict[str, tuple[str, ...]] = {  # no two kinds share one
    "blur": ("blurry", "out of focus"),
    "lens_blur": ("defocused", "unfocused"),
    "motion_blur": ("shaky", "motion blurred"),
    "shallow": ("shallow in depth of field", "rich in bokeh"),
    "double": ("ghosted", "double exposed"),
    "noise": ("noisy", "grainy"),
    "chroma_noise": ("rainbow flecked", "confetti grained"),
    "blotchy": ("blotchy", "splotched"),
    "impulse": ("peppered", "dotted"),
    "speckle": ("speckled", "mottled"),
    "smeared": ("smeared", "waxy"),
    "low_light": ("murky", "badly lit"),
    "jpeg": ("blocky", "compressed"),
    "jpeg2000": ("rippled", "ringing"),
    "webp": ("smudged", "macroblocked"),
    "avif": ("softly compressed", "detail starved"),
    "heic": ("squarely compressed", "coarsely encoded"),
    "color_bleed": ("color bleeding", "watercolored"),
    "color_shift": ("fringed", "misregistered"),
    "posterized": ("posterized", "coarsely toned"),
    "dithered": ("dithered", "stippled"),
    "pale": ("pale", "colorless"),
    "garish": ("garish", "oversaturated"),
    "tinted": ("tinted", "miscolored"),
    "warm": ("yellowish", "amber"),
    "cold": ("bluish", "icy"),
    "bright": ("washed out", "overlit"),
    "dark": ("dark", "gloomy"),
    "underexposed": ("underexposed", "drowned in shadow"),
    "overexposed": ("overexposed", "blown out"),
    "shifted": ("misleveled", "shifted in tone"),
    "flat": ("flat", "low contrast"),
    "harsh": ("harsh", "stark"),
    "hazy": ("hazy", "foggy"),
    "vignetted": ("vignetted", "shaded at the corners"),
    "banded": ("banded", "terraced"),
    "upscaled": ("upscaled", "low resolution"),
    "pixelate": ("pixelated", "jagged"),
    "jittered": ("jittered", "scrambled"),
    "patched": ("patchy", "glitched"),
    "blocked": ("occluded", "blocked out"),
    "oversharpened": ("oversharpened", "overly crisp"),
    "haloed": ("haloed", "outlined"),
}
CLEAN = ("clean and sharp", "sharp and clear", "undistorted")
PERCEPTUAL = (
    "a {} photo",
    "a {} picture",
    "a photo that is {}",
    "a photo that looks {}",
    "this picture looks {}",
    "the image is {}",
)
SEMANTIC = ("a photo of {}", "a picture of {}", "a picture showing {}", "this shows {}", "{}")
HARM = (0.5, 1.5, 3.0, 4.5)  # sums of strengths that part the levels of quality
QUALITY = tuple(f"a photo of {word} quality" for word in ("bad", "poor", "fair", "good", "excellent"))
BEAUTY = ("a very ugly photo", "an ugly photo", "an ordinary photo", "a beautiful photo", "a very beautiful photo")

# attribute: thresholds of its measurement, and the words for very low, low, (nothing), high, very high
MEASURED: dict[str, tuple[tuple[float, ...], tuple[str, str, str, str, str]]] = {
    "brightness": ((50, 85, 150, 185), ("very dark", "dark", "", "bright", "very bright")),
    "colorfulness": ((12, 25, 60, 85), ("almost colorless", "muted", "", "colorful", "very colorful")),
    "contrast": ((28, 42, 70, 82), ("very flat", "low contrast", "", "contrasty", "high contrast")),
    "sharpness": (
        (-1.8, -1.1, 0.1, 0.4),
        ("almost without detail", "short of detail", "", "detailed", "very detailed"),
    ),
    "noisiness": ((0.15, 0.35, 5, 9), ("very smooth", "smooth", "", "rough", "very rough")),
}
FINE = ("sharpness", "noisiness")  # what other distortions than those of color and tone disturb


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
    """How the photo looks, as adjectives: its distortions, and now and then a measured attribute."""
    words = [_said(distortion, rng) for distortion in distortions]
    if not words or rng.random() < 0.3:
        tonal = all(KINDS[distortion.kind].family in ("color", "tone") for distortion in distortions)
        name = rng.choice([name for name in MEASURED if tonal or name not in FINE])
        thresholds, levels = MEASURED[name]
        if word := levels[int(np.searchsorted(thresholds, measure(rgb)[name]))]:
            words.append(word)
    if not distortions and (not words or rng.random() < 0.7):
        words.insert(0, str(rng.choice(CLEAN)))
    return " and ".join(words)


def _said(distortion: Distortion, rng: np.random.Generator) -> str:
    adverb = ADVERBS[int(np.clip(round(distortion.strength), 1, 5)) - 1]
    if not KINDS[distortion.kind].fault and rng.random() < 0.5:
        adverb = rng.choice(PRAISE)
    return f"{adverb} {rng.choice(ADJECTIVES[distortion.kind])}"


def quality(distortions: tuple[Distortion, ...]) -> str:
    """The level text for a photo that had no fault before: the stronger its faults, the lower."""
    harm = sum(distortion.strength for distortion in distortions if KINDS[distortion.kind].fault)
    return QUALITY[::-1][int(np.searchsorted(HARM, harm, side="right"))]


def perceptual(adjectives: str, rng: np.random.Generator | None = None) -> str:
    """A sentence that says how the photo looks: the plain one, or one that `rng` picks."""
    sentence = (rng.choice(PERCEPTUAL) if rng else PERCEPTUAL[0]).format(adjectives)
    return re.sub("^a (?=[aeiou])", "an ", sentence)


def semantic(label: str, rng: np.random.Generator | None = None) -> str:
    """A sentence that says what the photo shows: the plain one, or one that `rng` picks.

    `label` may be a caption such as "A man rides a horse."; its first 16 words are kept.
    """
    shown = re.sub("^(A|An|The) ", lambda article: article[0].lower(), " ".join(label.split()[:16]).rstrip("."))
    return (rng.choice(SEMANTIC) if rng else SEMANTIC[0]).format(shown) if shown else "a photo"


def joint(adjectives: str, label: str) -> str:
    return f"{perceptual(adjectives)} of {label}" if label else perceptual(adjectives)


def level_centres(scores: list[float]) -> tuple[float, ...]:
    """The scores that the five level texts stand for: quantiles of the training photos' scores."""
    return tuple(np.quantile(scores, (0.1, 0.3, 0.5, 0.7, 0.9)).tolist())


def level_weights(score: float, centres: tuple[float, ...]) -> np.ndarray:
    """Soft target float32 (5,) over the level texts: a score between two level centres belongs to both."""
    position = float(np.interp(score, centres, range(5)))
    return np.maximum(0.0, 1.0 - np.abs(np.arange(5) - position)).astype(np.float32)
