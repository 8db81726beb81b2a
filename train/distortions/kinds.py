"""All kinds of distortion, by name."""

from __future__ import annotations

import numpy as np

from train.distortions import blur, color, compression, noise, spatial, tone
from train.distortions.kind import RGB, Distortion, Kind

STRENGTHS = (1.0, 2.0, 3.0, 4.0, 5.0)
QUALITIES = (98, 95, 90, 85, 75, 60, 45, 30, 20, 10)  # of a ladder of compression
KINDS: dict[str, Kind] = {
    "blur": Kind("blur", blur.gaussian, (0.0, 0.5, 1.0, 1.8, 3.1, 5.5)),  # sigma, pixels
    "lens_blur": Kind("blur", blur.lens, (0.0, 0.75, 1.7, 3.0, 5.0, 8.0)),  # radius, pixels
    "motion_blur": Kind("blur", blur.motion, (0.0, 2.0, 4.0, 7.5, 13.0, 20.0)),  # length, pixels
    "shallow": Kind("blur", blur.shallow, (0.0, 0.75, 1.7, 3.0, 5.0, 8.0), fault=False),  # radius, pixels
    "double": Kind("blur", blur.double, (0.0, 1.0, 2.5, 5.0, 9.0, 15.0)),  # offset, pixels
    "noise": Kind("noise", noise.white, (0.0, 3.5, 9.0, 18.0, 33.0, 56.0)),  # standard deviation, of 255
    "chroma_noise": Kind("noise", noise.chroma, (0.0, 5.0, 12.0, 23.0, 40.0, 65.0)),  # standard deviation, of 255
    "blotchy": Kind("noise", noise.blotches, (0.0, 3.0, 6.0, 11.0, 18.0, 27.0)),  # standard deviation, of 255
    "impulse": Kind("noise", noise.impulse, (0.0, 0.001, 0.005, 0.02, 0.06, 0.15)),  # share of pixels
    "speckle": Kind("noise", noise.speckle, (0.0, 0.03, 0.08, 0.18, 0.34, 0.6)),  # relative deviation
    "smeared": Kind("noise", noise.smeared, (0.0, 4.0, 8.0, 16.0, 28.0, 45.0)),  # deviation of the noise, of 255
    "low_light": Kind("noise", noise.low_light, (1.0, 0.9, 0.7, 0.45, 0.27, 0.15)),  # gain
    "jpeg": Kind("compression", compression.jpeg, (100.0, 80.0, 50.0, 30.0, 15.0, 6.0)),  # quality
    "jpeg2000": Kind("compression", compression.jpeg2000, (2.0, 7.0, 14.0, 30.0, 70.0, 180.0)),  # rate
    "webp": Kind("compression", compression.webp, (100.0, 80.0, 45.0, 20.0, 8.0, 0.0)),  # quality
    "avif": Kind("compression", compression.avif, (100.0, 68.0, 50.0, 38.0, 24.0, 8.0)),  # quality
    "heic": Kind("compression", compression.heic, (90.0, 38.0, 29.0, 23.0, 16.0, 5.0)),  # quality
    "color_bleed": Kind("color", color.bleed, (0.0, 2.5, 5.5, 11.0, 20.0, 32.0)),  # sigma, pixels
    "color_shift": Kind("color", color.shift, (0.0, 1.0, 2.0, 4.0, 7.0, 12.0)),  # offset, pixels
    "posterized": Kind("color", color.posterize, (1.0, 9.0, 18.0, 34.0, 56.0, 85.0)),  # step, of 255
    "dithered": Kind("color", color.dither, (256.0, 160.0, 64.0, 24.0, 11.0, 5.0)),  # colors
    "pale": Kind("color", color.saturate, (1.0, 0.85, 0.6, 0.35, 0.15, 0.0)),  # chroma
    "garish": Kind("color", color.saturate, (1.0, 1.2, 1.6, 2.3, 3.2, 4.5)),  # chroma
    "tinted": Kind("color", color.tint, (0.0, 0.05, 0.2, 0.44, 0.8, 1.3)),  # gain of one channel over the others
    "warm": Kind("color", color.temperature, (0.0, 0.035, 0.13, 0.25, 0.42, 0.65)),  # log of red's gain over green's
    "cold": Kind("color", color.temperature, (0.0, -0.035, -0.13, -0.25, -0.42, -0.65)),
    "bright": Kind("tone", tone.brighten, (1.0, 0.92, 0.7, 0.52, 0.37, 0.25)),  # gamma
    "dark": Kind("tone", tone.darken, (1.0, 0.9, 0.65, 0.43, 0.27, 0.15)),  # gain, or the gamma near it
    "underexposed": Kind("tone", tone.underexpose, (0.0, 0.3, 0.9, 1.8, 2.8, 4.0)),  # stops
    "overexposed": Kind("tone", tone.overexpose, (1.0, 1.1, 1.45, 1.9, 2.6, 3.5)),  # gain
    "shifted": Kind("tone", tone.shift, (0.0, 7.0, 17.0, 33.0, 55.0, 80.0)),  # of 255
    "flat": Kind("tone", tone.scale_contrast, (1.0, 0.86, 0.62, 0.42, 0.28, 0.16)),  # contrast
    "harsh": Kind("tone", tone.scale_contrast, (1.0, 1.16, 1.5, 2.1, 3.0, 4.5)),  # contrast
    "hazy": Kind("tone", tone.haze, (0.0, 0.07, 0.27, 0.46, 0.65, 0.8)),  # share of the veil
    "vignetted": Kind("tone", tone.vignette, (0.0, 0.2, 0.5, 0.9, 1.3, 2.0)),  # stops at mid-edge
    "banded": Kind("tone", tone.band, (0.0, 6.0, 12.0, 23.0, 38.0, 60.0)),  # step, of 255
    "upscaled": Kind("spatial", spatial.upscale, (1.0, 1.2, 1.9, 3.0, 4.8, 7.5)),  # scale
    "pixelate": Kind("spatial", spatial.pixelate, (1.0, 1.25, 1.8, 2.8, 4.5, 7.0)),  # scale
    "jittered": Kind("spatial", spatial.jitter, (0.0, 0.28, 0.6, 1.4, 2.8, 5.0)),  # deviation, pixels
    "patched": Kind("spatial", spatial.patch, (0.0, 2.0, 8.0, 24.0, 50.0, 90.0)),  # patches
    "blocked": Kind("spatial", spatial.block, (0.0, 1.0, 2.0, 4.0, 7.0, 12.0)),  # blocks
    "oversharpened": Kind("spatial", spatial.sharpen, (0.0, 45.0, 120.0, 280.0, 550.0, 1000.0)),  # percent
    "haloed": Kind("spatial", spatial.halo, (0.0, 18.0, 45.0, 95.0, 180.0, 320.0)),  # percent
}


def distort(rgb: RGB, distortion: Distortion, rng: np.random.Generator) -> RGB:
    """The distorted photo, of the same shape."""
    kind = KINDS[distortion.kind]
    return kind.function(rgb, float(np.interp(distortion.strength, range(6), kind.amounts)), rng)


def ladder(kind: str) -> tuple[Distortion, ...]:
    """Compression at each of QUALITIES, from the best on; `distort` uses just that quality. The photo itself precedes.

    `kind`: jpeg, webp or avif, whose amounts are qualities. The strengths rise.
    """
    amounts = KINDS[kind].amounts
    return tuple(Distortion(kind, float(np.interp(-quality, np.negative(amounts), range(6)))) for quality in QUALITIES)
