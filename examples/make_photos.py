"""Makes examples/photos from photographs that scikit-image ships: `pip install scikit-image`, then run this file.

SOURCES.md beside the photos names each one's author and licence.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

OUT = Path(__file__).parent / "photos"
LONG_SIDE = 512
ORIGINALS = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "rocket.jpg")


def blur(photo: Image.Image) -> Image.Image:
    return photo.filter(ImageFilter.GaussianBlur(3))


def noise(photo: Image.Image) -> Image.Image:
    rng = np.random.default_rng(0)
    noisy = np.asarray(photo) + rng.normal(0, 30, (photo.height, photo.width, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def dark(photo: Image.Image) -> Image.Image:
    return photo.point(lambda value: round(0.3 * value))


def unchanged(photo: Image.Image) -> Image.Image:
    return photo


# name: original, what is done to it, JPEG quality
DEGRADED: dict[str, tuple[str, Callable[[Image.Image], Image.Image], int]] = {
    "astronaut-blur": ("astronaut", blur, 92),
    "astronaut-jpeg": ("astronaut", unchanged, 8),
    "chelsea-blur": ("chelsea", blur, 92),
    "chelsea-noise": ("chelsea", noise, 92),
    "coffee-dark": ("coffee", dark, 92),
    "coffee-noise": ("coffee", noise, 92),
    "coffee-jpeg": ("coffee", unchanged, 8),
    "rocket-dark": ("rocket", dark, 92),
}


def main() -> None:
    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise SystemExit("this needs scikit-image: pip install scikit-image")
    data = Path(package.origin).parent / "data"
    OUT.mkdir(exist_ok=True)
    originals = {Path(name).stem: Image.open(data / name).convert("RGB") for name in ORIGINALS}
    for name, photo in originals.items():
        photo.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
        photo.save(OUT / f"{name}.jpg", quality=92)
    for name, (original, degrade, quality) in DEGRADED.items():
        degrade(originals[original]).save(OUT / f"{name}.jpg", quality=quality)


if __name__ == "__main__":
    main()
