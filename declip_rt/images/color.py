"""Pixels of any color space as sRGB, which the model has learned from."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from declip_rt.errors import ImageError

GRID = 9  # levels a channel of the colors that tell whether a profile is that of sRGB
ALIKE = 2  # levels of 255 by which two renderings of sRGB differ
PROFILES_KEPT = 64
HDR = {16: "PQ", 18: "HLG"}  # transfer functions by their number in ITU-T H.273
SRGB_GAMMA, GAMMA_ALIKE = 1 / 2.2, 0.03
COLORS = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # a profile's space: the mode of pixels that it is for


def check(data: bytes, image: Image.Image) -> None:
    """Raises ImageError where an opened image is of high dynamic range, which one tone mapping or another would make
    an image of its own."""
    transfer = _transfer(data, image)
    if transfer in HDR:
        raise ImageError(f"HDR ({HDR[transfer]}) is not read: convert it to SDR, such as an sRGB JPEG, first")


def to_srgb(image: Image.Image) -> Image.Image:
    """A loaded image as sRGB in mode RGB or RGBA, or as it is where it names no color space, or one that is damaged.

    The perceptual intent of LittleCMS takes colors that sRGB lacks into it.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return _from_gamma(image)
    mode = COLORS.get(_space(profile))
    if mode is None or (mode == "CMYK") != (image.mode == "CMYK"):
        return image
    if mode == "CMYK":
        return _applied(image, profile, "CMYK")
    if is_srgb(profile):
        return image
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    color = image.convert("RGBA").convert("RGB").convert(mode) if alpha else image.convert(mode)
    made = _applied(color, profile, mode)
    if alpha:
        made.putalpha(alpha)
    return made


def unlike_srgb(profile: bytes) -> bytes:
    """The profile where RGB in it differs from sRGB; none where it does not."""
    return b"" if not profile or is_srgb(profile) else profile


def rgb_to_srgb(rgb: NDArray[np.uint8], profile: bytes) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) of an image that has this profile: see `unlike_srgb`."""
    if not profile:
        return rgb
    mode = COLORS[_space(profile)]
    return np.asarray(_applied(Image.fromarray(rgb).convert(mode), profile, mode))


@lru_cache(PROFILES_KEPT)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB or grey profile leaves pixels as they are; one that cannot be used does so, too."""
    mode = COLORS.get(_space(profile), "")
    if mode not in ("RGB", "L"):
        return True
    if mode == "RGB":
        levels = np.linspace(0, 255, GRID).round().astype(np.uint8)
        colors = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(GRID, -1, 3)
        before = Image.fromarray(colors)
    else:
        before = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    after = _applied(before, profile, mode)
    moved = np.asarray(before.convert("RGB"), np.int16) - np.asarray(after, np.int16)
    return bool(np.abs(moved).max() <= ALIKE)


@lru_cache(PROFILES_KEPT)
def _space(profile: bytes) -> str:
    """The color space that a profile is for: four letters; none where it is damaged."""
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space)
    except (OSError, ImageCms.PyCMSError):
        return ""


@lru_cache(PROFILES_KEPT)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (OSError, ImageCms.PyCMSError):
        return None


def _applied(image: Image.Image, profile: bytes, mode: str) -> Image.Image:
    transform = _transform(profile, mode)
    if transform is None:
        return image.convert("RGB")
    made = ImageCms.applyTransform(image, transform)
    assert made is not None  # it is None where the image is changed in place
    return made


def _from_gamma(image: Image.Image) -> Image.Image:
    """A PNG that names its gamma alone, as sRGB."""
    gamma = image.info.get("gamma")
    if "srgb" in image.info or not gamma or abs(gamma - SRGB_GAMMA) < GAMMA_ALIKE:
        return image
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    curve = _curve(float(gamma))
    channels = {"RGB": curve * 3, "L": curve, "RGBA": curve * 3 + list(range(256))}
    return image.point(channels[image.mode])


def _curve(gamma: float) -> list[int]:
    """The sRGB level of each level that stands for light to the power of gamma."""
    light = (np.arange(256) / 255) ** (1 / gamma)
    made = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    levels: list[int] = (255 * made).round().astype(int).tolist()
    return levels


def _transfer(data: bytes, image: Image.Image) -> int:
    """The number of an image's transfer function, where PNG's cICP, or AVIF's or HEIC's colr says it; 2 is unknown."""
    if profile := image.info.get("nclx_profile"):
        return int(profile["transfer_characteristics"])
    if image.format == "PNG":
        place = data.find(b"cICP", 0, data.find(b"IDAT"))
        return data[place + 5] if place >= 0 and len(data) > place + 5 else 2
    if image.format == "AVIF":
        head = data[: max(data.find(b"mdat"), 0) or len(data)]
        place = head.find(b"colrnclx")
        return int.from_bytes(head[place + 10 : place + 12], "big") if place >= 0 else 2
    return 2
