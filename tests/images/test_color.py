"""Colors of any space become those of sRGB; what has no one rendering in it is refused."""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from declip_rt import Bundle, ImageError, Scorer
from declip_rt.images import color, load
from declip_rt.images.decode import Encoded, decode, from_pil
from declip_rt.stats import Stats
from tests.conftest import picture, saved

SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])  # to XYZ of D50
DISPLAY_P3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
ADOBE = np.array([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]])


def profile(columns: NDArray[np.float64] | None, gamma: float) -> bytes:
    """An ICC profile (version 2) of RGB with these primaries, or of grey, with one gamma."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(65536 * value)) for value in values)

    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(256 * gamma))
    white = b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249)
    tags = {b"wtpt": white, b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(79)}
    tags[b"cprt"] = b"text" + bytes(4) + b"none\0\0\0\0"
    if columns is None:
        tags[b"kTRC"] = curve
    else:
        for name, column in zip(b"rgb", columns.T, strict=True):
            tags[bytes([name]) + b"XYZ"] = b"XYZ " + bytes(4) + fixed(*column)
            tags[bytes([name]) + b"TRC"] = curve
    table, body, place = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data
    space = b"GRAY" if columns is None else b"RGB "
    head = struct.pack(">I4sI4s4s4s12x4s28x", place + len(body), b"none", 0x02100000, b"mntr", space, b"XYZ ", b"acsp")
    return (head + fixed(0.9642, 1.0, 0.8249)).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def expected(rgb: NDArray[np.uint8], columns: NDArray[np.float64], gamma: float) -> NDArray[np.float64]:
    """The sRGB levels, by the definitions of both spaces."""
    light = np.clip((rgb / 255) ** gamma @ columns.T @ np.linalg.inv(SRGB).T, 0, 1)
    made: NDArray[np.float64] = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return made


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize(("columns", "gamma"), [(DISPLAY_P3, 2.2), (ADOBE, 2.2), (SRGB, 1.0)])
def test_a_profile_is_brought_to_srgb(kind: str, columns: NDArray[np.float64], gamma: float) -> None:
    rgb = np.full((16, 16, 3), (200, 120, 90), np.uint8)
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = saved(Image.fromarray(rgb), kind, icc_profile=profile(columns, gamma), **options)
    assert np.abs(decode(data)[8, 8] - expected(rgb, columns, gamma)[8, 8]).max() < 3
    plain = Encoded(data).decode(icc=False).rgb[8, 8].astype(int)
    assert np.abs(plain - rgb[8, 8]).max() < 3


def test_the_profile_of_srgb_changes_nothing() -> None:
    rgb = picture()
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert color.is_srgb(own)
    assert np.array_equal(decode(saved(Image.fromarray(rgb), "PNG", icc_profile=own)), rgb)


@pytest.mark.parametrize("bad", [b"", b"no profile", profile(ADOBE, 2.2)[:200]])
def test_a_damaged_profile_is_passed_over(bad: bytes) -> None:
    rgb = picture()
    assert np.array_equal(decode(saved(Image.fromarray(rgb), "PNG", icc_profile=bad)), rgb)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1"])
def test_every_mode_takes_a_profile(mode: str) -> None:
    image = Image.new("RGB", (8, 8), (90, 90, 90)).convert("RGBA").convert(mode)
    linear = profile(None if mode in ("L", "LA", "1") else SRGB, 1.0)
    found = decode(saved(image, "PNG", icc_profile=linear))[4, 4]
    grey = np.asarray(image.convert("RGB"))[4, 4]
    assert np.abs(found - expected(grey, SRGB, 1.0)).max() < 3


def test_transparency_stays_beside_a_profile() -> None:
    image = Image.new("RGBA", (8, 8), (90, 90, 90, 0))
    assert (decode(saved(image, "PNG", icc_profile=profile(SRGB, 1.0))) == 255).all()


def test_sixteen_bits_take_a_profile() -> None:
    image = Image.fromarray(np.full((8, 8), 90 * 257, np.uint16))
    found = decode(saved(image, "PNG", icc_profile=profile(None, 1.0)))
    assert np.abs(found - expected(np.array([90, 90, 90]), SRGB, 1.0)).max() < 3


def test_a_profile_for_other_pixels_is_passed_over() -> None:
    rgb = picture()
    cmyk = profile(SRGB, 1.0).replace(b"RGB ", b"CMYK", 1)
    assert np.array_equal(decode(saved(Image.fromarray(rgb), "PNG", icc_profile=cmyk)), rgb)


def test_an_image_of_pillow_takes_its_profile() -> None:
    image = Image.new("RGB", (8, 8), (90, 90, 90))
    image.info["icc_profile"] = profile(SRGB, 1.0)
    assert np.abs(from_pil(image)[4, 4] - expected(np.array([90, 90, 90]), SRGB, 1.0)).max() < 3
    assert (from_pil(image, icc=False) == 90).all()


def test_threads_share_a_profile() -> None:
    rgb = picture()
    data = saved(Image.fromarray(rgb), "PNG", icc_profile=profile(ADOBE, 2.2))
    once = decode(data)
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(each, once) for each in pool.map(decode, [data] * 40))


def chunked(data: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk after its header."""
    made = name + body
    return data[:33] + struct.pack(">I", len(body)) + made + struct.pack(">I", zlib.crc32(made)) + data[33:]


@pytest.mark.parametrize(("number", "name"), [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_is_refused_by_name(number: int, name: str) -> None:
    plain = saved(Image.fromarray(picture()), "PNG")
    with pytest.raises(ImageError, match=f"HDR \\({name}\\) is not read: convert it to SDR"):
        decode(chunked(plain, b"cICP", bytes([9, number, 0, 1])))
    decode(chunked(plain, b"cICP", bytes([1, 13, 0, 1])))
    avif = saved(Image.fromarray(picture()), "AVIF")
    place = avif.index(b"colrnclx") + 10
    with pytest.raises(ImageError, match=f"HDR \\({name}\\)"):
        decode(avif[:place] + number.to_bytes(2, "big") + avif[place + 2 :])


def test_a_gamma_alone_is_taken_at_its_word() -> None:
    linear = saved(Image.new("RGB", (8, 8), (90, 90, 90)), "PNG")
    found = decode(chunked(linear, b"gAMA", struct.pack(">I", 100_000)))
    assert np.abs(found[4, 4] - expected(np.array([90, 90, 90]), SRGB, 1.0)).max() < 2
    assert (decode(chunked(linear, b"gAMA", struct.pack(">I", 45_455))) == 90).all()


def test_a_score_takes_the_profile_unless_it_is_told_not_to() -> None:
    dark = Image.fromarray((picture() // 3).astype(np.uint8))
    linear = saved(dark, "JPEG", icc_profile=profile(SRGB, 1.0))
    with Scorer(device="cpu") as scorer, Scorer(device="cpu", icc=False) as plain:
        assert plain.score(linear).attributes == plain.score(saved(dark, "JPEG")).attributes
        assert scorer.score(linear)["brightness"] > plain.score(linear)["brightness"]


def test_the_gpus_decoder_gets_no_image_with_a_profile(bundle: Bundle) -> None:
    asked: list[bytes] = []

    def on_gpu(image: Encoded) -> None:
        asked.append(image.data)

    loader = load.Loader(bundle.views, Stats(), on_gpu=on_gpu)
    plain = saved(Image.fromarray(picture()), "JPEG")
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = saved(Image.fromarray(picture()), "JPEG", icc_profile=own)
    for data in (plain, same, saved(Image.fromarray(picture()), "JPEG", icc_profile=profile(ADOBE, 2.2))):
        loader.load(data)
    assert asked == [plain, same]
