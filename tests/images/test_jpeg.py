"""The native reader of headers says what Pillow says, or that Pillow must have a look."""

from __future__ import annotations

import io
import random
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from declip_rt.images import jpeg
from declip_rt.images.jpeg import Header, header_of, read_header
from tests.conftest import encoded, examples, picture, saved

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation="6"/>'


def jpeg_of(turn: int | None = None, mode: str = "RGB", **options: object) -> bytes:
    if turn is not None:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = turn
    return saved(Image.fromarray(picture(width=60, height=40)).convert(mode), "JPEG", **options)


def with_segment(data: bytes, mark: int, content: bytes) -> bytes:
    return data[:2] + bytes([0xFF, mark]) + (len(content) + 2).to_bytes(2, "big") + content + data[2:]


def by_pillow(data: bytes) -> Header | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return header_of(Image.open(io.BytesIO(data)))
    except Exception:  # Pillow raises nearly anything on corrupt data
        return None


def with_maker(make: str, turn: int) -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = make, turn
    return saved(Image.fromarray(picture(width=60, height=40)), "JPEG", exif=exif)


KINDS = {
    "plain": jpeg_of(),
    "grey": jpeg_of(mode="L"),
    "progressive": jpeg_of(progressive=True),
    "RGB": jpeg_of(keep_rgb=True),
    "with a profile": jpeg_of(icc_profile=PROFILE),
    "with a profile in parts": jpeg_of(icc_profile=PROFILE + bytes(200_000)),
    "with a comment": jpeg_of(comment=b"a comment"),
    "of a maker": with_maker("a maker of cameras", 6),
    **{f"turned {turn}": jpeg_of(turn) for turn in range(1, 9)},
    "all": jpeg_of(6, progressive=True, icc_profile=PROFILE, comment=b"\xff\xda"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_reads_is_pillows(kind: str) -> None:
    found = read_header(KINDS[kind])
    assert found is not None
    assert found == by_pillow(KINDS[kind])


@pytest.mark.parametrize(
    "data",
    [
        jpeg_of(mode="CMYK"),
        jpeg_of(9),
        with_segment(jpeg_of(), 0xE1, XMP),
        with_segment(jpeg_of(6), 0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
        with_segment(jpeg_of(), 0xE1, b"Exif\0\0MM\0*\0\0\0\xff\0\0"),
        with_segment(jpeg_of(), 0xE2, b"ICC_PROFILE\0\1\2half of one"),
        with_segment(jpeg_of(icc_profile=PROFILE), 0xE2, b"ICC_PROFILE\0\1\1another"),
        jpeg_of().replace(b"\xff\xc4", b"junk\xff\xc4", 1),
        jpeg_of()[:300],
        encoded(picture(), "PNG"),
        with_maker("a maker of cameras", 6).replace(b"\0\0\0&\1\x12", b"\0\0\xff&\1\x12"),  # its name lies beyond
        b"\xff\xd8",
        b"",
    ],
)
def test_what_readers_take_in_several_ways_is_left_to_pillow(data: bytes) -> None:
    assert read_header(data) is None


@given(st.sampled_from(list(KINDS)), st.integers(0, 2**32), st.integers(1, 4))
@examples(400)
def test_damaged_headers_are_read_as_pillow_does_or_left_to_it(kind: str, seed: int, changes: int) -> None:
    data, rng = bytearray(KINDS[kind]), random.Random(seed)
    for _ in range(changes):
        place = rng.randrange(min(len(data), 700))
        if rng.random() < 0.3:
            del data[place : place + rng.randint(1, 30)]
        else:
            data[place] = rng.choice([0, 1, 0xFF, 0xC2, 0xDA, 0xE1, 0xE2, rng.randrange(256)])
    found, expected = read_header(bytes(data)), by_pillow(bytes(data))
    assert found is None or expected is None or found == expected  # what Pillow refuses libjpeg will judge


def test_without_the_extension_pillow_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("declip_rt.native._native", None)
    assert read_header(KINDS["plain"]) is None
    assert jpeg.read_turn(Image.open(io.BytesIO(KINDS["turned 6"]))) == 6
