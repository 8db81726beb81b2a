"""The grammar of the two texts: how a photo looks (perceptual), and what it shows (semantic)."""

from __future__ import annotations

import numpy as np

from train.distortions import RGB, Distortion

ADVERBS = ("slightly", "somewhat", "clearly", "very", "extremely")
ADJECTIVES: dict[str, tuple[str, ...]] = {  # no two kinds share one
    "blur": ("blurry", "out of focus"),
    "lens_blur": ("lens blurred", "unfocused"),
    "motion_blur": ("shaky", "motion blurred"),
    "shallow": ("shallow in focus", "background blurred"),
    "double": ("ghosted", "double exposed"),
    "noise": ("noisy", "grainy"),
    "chroma_noise": ("color noisy", "color speckled"),
    "impulse": ("peppered", "dotted"),
    "speckle": ("speckled", "mottled"),
    "smeared": ("smeared", "waxy"),
    "low_light": ("murky", "badly lit"),
    "jpeg": ("blocky", "compressed"),
    "jpeg2000": ("rippled", "wavelet compressed"),
    "webp": ("smudged", "webp compressed"),
    "color_bleed": ("color bleeding", "color smeared"),
    "color_shift": ("fringed", "misregistered"),
    "posterized": ("posterized", "banded"),
    "pale": ("pale", "colorless"),
    "garish": ("garish", "oversaturated"),
    "tinted": ("tinted", "miscolored"),
    "dark": ("dark", "underexposed"),
    "overexposed": ("overexposed", "blown out"),
    "flat": ("flat", "low contrast"),
    "harsh": ("harsh", "glaring"),
    "hazy": ("hazy", "foggy"),
    "vignetted": ("vignetted", "dark cornered"),
    "upscaled": ("upscaled", "low resolution"),
    "pixelate": ("pixelated", "jagged"),
    "jittered": ("jittered", "scrambled"),
    "patched": ("patchy", "glitched"),
    "blocked": ("occluded", "blocked out"),
    "oversharpened": ("oversharpened", "haloed"),
}
CLEAN = ("clean and sharp", "sharp and clear", "undistorted")
PERCEPTUAL = ("a {} photo", "a photo that is {}", "this picture looks {}", "the image is {}")
SEMANTIC = ("a photo of {}", "a picture of {}", "this shows {}", "an image with {}")
QUALITY = tuple(f"a photo of {word} quality" for word in ("bad", "poor", "fair", "good", "excellent"))
BEAUTY = ("a very ugly photo", "an ugly photo", "an ordinary photo", "a beautiful photo", "a very beautiful photo")

# attribute: thresholds of its measurement, and the words for very low, low, (nothing), high, very high
MEASURED: dict[str, tuple[tuple[float, ...], tuple[str, str, str, str, str]]] = {
    "brightness": ((50, 85, 150, 185), ("very dark", "dark", "", "bright", "very bright")),
    "colorfulness": ((12, 25, 60, 85), ("almost colorless", "muted", "", "colorful", "very colorful")),
    "contrast": ((28, 42, 70, 82), ("very flat", "low contrast", "", "contrasty", "high contrast")),
}


def measure(rgb: RGB) -> dict[str, float]:
    """Mean luma, colourfulness (Hasler & Suesstrunk, 2003) and RMS contrast, in grey levels of 255."""
    red, green, blue = np.moveaxis(rgb[::2, ::2].astype(np.float32), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    rg, yb = red - green, 0.5 * (red + green) - blue
    return {
        "brightness": float(luma.mean()),
        "colorfulness": float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())),
        "contrast": float(luma.std()),
    }


def looks(rgb: RGB, distortions: tuple[Distortion, ...], rng: np.random.Generator) -> str:
    """How the photo looks, as adjectives: its distortions, and now and then a measured attribute."""
    words = []
    for distortion in distortions:
        level = int(np.clip(round(distortion.strength), 1, 5))
        words.append(f"{ADVERBS[level - 1]} {rng.choice(ADJECTIVES[distortion.kind])}")
    if not words or rng.random() < 0.3:
        name = rng.choice(list(MEASURED))
        thresholds, levels = MEASURED[name]
        if word := levels[int(np.searchsorted(thresholds, measure(rgb)[name]))]:
            words.append(word)
    if not distortions and (not words or rng.random() < 0.7):
        words.insert(0, str(rng.choice(CLEAN)))
    return " and ".join(words)


def perceptual(adjectives: str, rng: np.random.Generator | None = None) -> str:
    """A sentence that says how the photo looks: the plain one, or one that `rng` picks."""
    return (rng.choice(PERCEPTUAL) if rng else PERCEPTUAL[0]).format(adjectives)


def semantic(label: str, rng: np.random.Generator | None = None) -> str:
    """A sentence that says what the photo shows, by a label or a caption: the plain one, or one that `rng` picks."""
    if label.startswith(("A ", "An ", "The ")):
        label = label[0].lower() + label[1:]
    return (rng.choice(SEMANTIC) if rng else SEMANTIC[0]).format(label.rstrip(".")) if label else "a photo"


def joint(adjectives: str, label: str) -> str:
    return f"a {adjectives} photo of {label}" if label else f"a {adjectives} photo"


def level_centres(scores: list[float]) -> tuple[float, ...]:
    """The scores that the five level texts stand for: quantiles of the training photos' scores."""
    return tuple(np.quantile(scores, (0.1, 0.3, 0.5, 0.7, 0.9)).tolist())


def level_weights(score: float, centres: tuple[float, ...]) -> np.ndarray:
    """Soft target float32 (5,) over the level texts: a score between two level centres belongs to both."""
    position = float(np.interp(score, centres, range(5)))
    return np.maximum(0.0, 1.0 - np.abs(np.arange(5) - position)).astype(np.float32)
