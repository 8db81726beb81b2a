"""Camera raw: the embedded preview stands for the photo, and says so."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from declip_rt import ImageError, Scorer
from declip_rt.images import formats, sources
from declip_rt.images.decode import RGB, decode
from tests.conftest import encoded, picture

FORMATS = {1: "B", 2: "s", 3: "H", 4: "I", 10: "ii"}  # of TIFF's types
UNITY = [(1, 1), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1), (0, 1), (0, 1), (1, 1)]


def dng(preview: bytes, size: tuple[int, int], photo: tuple[int, int] = (1200, 900), orientation: int = 1) -> bytes:
    """A DNG with a JPEG preview, as cameras write it."""
    made = bytearray(struct.pack("<2sHI", b"II", 42, 0))

    def put(data: bytes) -> int:
        made.extend(b"\0" * (len(made) % 2))
        made.extend(data)
        return len(made) - len(data)

    def directory(tags: dict[int, tuple[int, list[object]]]) -> int:
        lines = b""
        for tag, (kind, values) in sorted(tags.items()):
            parts = [value if isinstance(value, tuple) else (value,) for value in values]
            data = b"".join(struct.pack("<" + FORMATS[kind], *part) for part in parts)
            inside = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<I", put(data))
            lines += struct.pack("<HHI", tag, kind, len(values)) + inside
        return put(struct.pack("<H", len(tags)) + lines + bytes(4))

    width, height = photo
    frame = {254: (4, [0]), 256: (4, [width]), 257: (4, [height]), 258: (3, [16]), 259: (3, [1]), 262: (3, [32803])}
    strip = {273: (4, [put(bytes(2 * width * height))]), 277: (3, [1]), 278: (4, [height])}
    pattern = {279: (4, [2 * width * height]), 33421: (3, [2, 2]), 33422: (1, [0, 1, 1, 2])}
    inner = directory(frame | strip | pattern)
    frame = {254: (4, [1]), 256: (4, [size[0]]), 257: (4, [size[1]]), 258: (3, [8, 8, 8]), 259: (3, [7]), 262: (3, [6])}
    strip = {273: (4, [put(preview)]), 277: (3, [3]), 278: (4, [size[1]]), 279: (4, [len(preview)])}
    names = {271: (2, [b"M", b"\0"]), 272: (2, [b"X", b"\0"]), 50708: (2, [b"M", b"\0"])}
    others = {274: (3, [orientation]), 330: (4, [inner]), 50706: (1, [1, 4, 0, 0]), 50721: (10, UNITY)}
    made[4:8] = struct.pack("<I", directory(frame | strip | names | others))
    return bytes(made)


def sensor_first(whole: bytes) -> bytes:
    """The same file with the sensor's values as its first page, and the preview behind it, as phones write it."""
    made = bytearray(whole)
    (outer,) = struct.unpack_from("<I", made, 4)
    (count,) = struct.unpack_from("<H", made, outer)
    lines = [struct.unpack_from("<HHII", made, outer + 2 + 12 * i) for i in range(count)]
    (inner,) = (value for tag, _, _, value in lines if tag == 330)
    tags = {tag: made[outer + 2 + 12 * i : outer + 14 + 12 * i] for i, (tag, *_) in enumerate(lines)}
    (inside,) = struct.unpack_from("<H", made, inner)
    own = {
        struct.unpack_from("<H", made, inner + 2 + 12 * i)[0]: made[inner + 2 + 12 * i : inner + 14 + 12 * i]
        for i in range(inside)
    }
    first = (
        own
        | {tag: tags[tag] for tag in (271, 272, 274, 50706, 50708, 50721)}
        | {330: struct.pack("<HHII", 330, 4, 1, outer)}
    )
    made.extend(b"\0" * (len(made) % 2))
    place = len(made)
    made.extend(struct.pack("<H", len(first)) + b"".join(bytes(first[tag]) for tag in sorted(first)) + bytes(4))
    made[4:8] = struct.pack("<I", place)
    return bytes(made)


def sample(width: int = 800, height: int = 600) -> tuple[RGB, bytes]:
    """A preview's pixels, and its JPEG."""
    data = encoded(picture(0, width, height))
    return decode(data), data


def test_the_preview_is_scored_and_said(tmp_path: Path) -> None:
    pixels, preview = sample()
    (tmp_path / "a.dng").write_bytes(dng(preview, (800, 600)))
    (tmp_path / "a.jpg").write_bytes(preview)
    assert list(sources.expand([str(tmp_path)])) == [str(tmp_path / "a.dng"), str(tmp_path / "a.jpg")]
    assert np.array_equal(decode((tmp_path / "a.dng").read_bytes()), pixels)
    with Scorer(device="cpu") as scorer:
        raw, plain = scorer.score(tmp_path / "a.dng"), scorer.score(tmp_path / "a.jpg")
    assert (raw.technical, raw.width, raw.height) == (plain.technical, 800, 600)
    assert (raw.preview, plain.preview) == ("800x600 of 1200x900", "")


def test_the_sensors_values_may_come_first() -> None:
    pixels, preview = sample()
    whole = sensor_first(dng(preview, (800, 600)))
    with pytest.raises(ImageError, match="TIFF"):
        formats.opened(whole)
    assert np.array_equal(decode(whole), pixels)


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])  # CMYK is decoded by Pillow
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_it_stands_upright_once(orientation: int, mode: str) -> None:
    preview, file = io.BytesIO(), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(picture(0, 800, 600)).convert(mode)
    image.save(preview, "JPEG", quality=95)
    image.save(file, "JPEG", quality=95, exif=exif)
    upright = decode(file.getvalue())
    for inside in (preview.getvalue(), file.getvalue()):  # it may say how it is turned, or leave that to the raw file
        turned = decode(dng(inside, (800, 600), orientation=orientation))
        assert turned.shape == upright.shape
        assert np.abs(turned.astype(int) - upright).mean() < 3


def test_a_preview_that_is_too_small_does_not_stand_for_the_photo() -> None:
    _, preview = sample(160, 120)
    with pytest.raises(ImageError, match=r"camera raw whose preview has 160x120 pixels alone: develop it"):
        decode(dng(preview, (160, 120)))


def test_without_rawpy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    _, preview = sample()
    with pytest.raises(ImageError, match=r'camera raw is not read: pip install "declip-rt\[photos\]", or develop it'):
        decode(dng(preview, (800, 600)))


@pytest.mark.parametrize(
    "data", [b"FUJIFILMCCD-RAW " + bytes(200), b"\0\0\0\x18ftypcrx " + bytes(200), b"IIU\0" + bytes(99)]
)
def test_a_broken_raw_file_is_an_error(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"camera raw .* without a preview that can be read"):
        decode(data)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_raw_file_is_an_error(share: float) -> None:
    _, preview = sample()
    whole = dng(preview, (800, 600))
    with pytest.raises(ImageError):
        decode(whole[: int(share * len(whole))])
