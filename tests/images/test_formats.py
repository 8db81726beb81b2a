"""What is decoded, and what others are called."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, TiffImagePlugin

from declip_rt import ImageError
from declip_rt.images import sources
from declip_rt.images.decode import decode
from declip_rt.images.formats import READ, SIGNATURES
from tests.conftest import encoded, picture

Image.init()


@pytest.mark.parametrize("kind", sorted({*READ} & {*Image.SAVE}))  # old Pillows lack AVIF, and write no QOI
def test_formats_that_are_read(kind: str) -> None:
    assert decode(encoded(picture(1, 64, 64), kind)).shape == (64, 64, 3)


@pytest.mark.parametrize(("place", "mark", "name"), [row[:3] for row in SIGNATURES])
def test_what_is_not_read_is_called_by_its_name(
    place: int, mark: bytes, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match="is not read: ") as caught:
        decode(bytes(place) + mark + b"\0" * 200)
    assert str(caught.value).startswith(name.split(" (")[0].split(",")[0])


def heic(image: Image.Image, **options: object) -> bytes:
    made = io.BytesIO()
    pillow_heif.from_pillow(image).save(made, **options)
    return made.getvalue()


def test_heic_is_read_where_its_library_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rgb = picture()
    data = heic(Image.fromarray(rgb), quality=95)
    assert np.abs(decode(data).astype(int) - rgb).mean() < 4
    (tmp_path / "a.HEIC").write_bytes(data)
    assert list(sources.expand([str(tmp_path)])) == [str(tmp_path / "a.HEIC")]
    with pytest.raises(ImageError, match="corrupt"):
        decode(data[: len(data) // 2])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    sources._suffixes.cache_clear()
    with pytest.raises(ImageError, match=r'HEIC is not read: pip install "declip-rt\[photos\]", or convert it to JPEG'):
        decode(data)
    skipped = sources.Skipped()
    assert list(sources.expand([str(tmp_path)], skipped=skipped)) == []
    assert str(skipped) == "1 skipped: 1 .heic"
    sources._suffixes.cache_clear()


def test_heic_of_high_dynamic_range_is_refused() -> None:
    data = heic(Image.fromarray(picture()))
    place = data.index(b"colrnclx") + 10
    with pytest.raises(ImageError, match=r"HDR \(PQ\) is not read"):
        decode(data[:place] + (16).to_bytes(2, "big") + data[place + 2 :])


def test_postscript_called_a_photo_starts_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    file = io.BytesIO()
    Image.fromarray(picture(0, 40, 30)).save(file, "EPS")
    with pytest.raises(ImageError, match="PostScript is not read"):
        decode(file.getvalue())


@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {271: "NIKON CORPORATION", 254: 1}])
def test_the_thumbnail_of_a_camera_raw_file_is_not_scored(tmp_path: Path, tags: dict[int, object]) -> None:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[tag] = value
        if tag == 50706:
            directory.tagtype[tag] = 1
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(tmp_path / "a.dng", "TIFF", tiffinfo=directory)
    with pytest.raises(ImageError, match="camera raw"):
        decode((tmp_path / "a.dng").read_bytes())


def test_the_largest_page_of_a_tiff_counts() -> None:
    pages = [
        Image.new("RGB", size, color) for size, color in (((16, 12), "red"), ((64, 48), "lime"), ((32, 24), "blue"))
    ]
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    assert decode(file.getvalue()).shape == (48, 64, 3)
    assert decode(file.getvalue())[0, 0].tolist() == [0, 255, 0]
    with pytest.raises(ImageError, match="64x48 is more than 1,000 pixels"):
        decode(file.getvalue(), max_pixels=1000)


def test_the_default_image_of_an_animated_png_is_not_scored() -> None:
    frames = [Image.new("RGB", (16, 12), color) for color in ("red", "lime", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], default_image=True)
    assert decode(file.getvalue())[0, 0].tolist() == [0, 255, 0]
    frames[0].save(file := io.BytesIO(), "PNG", save_all=True, append_images=frames[1:])
    assert decode(file.getvalue())[0, 0].tolist() == [255, 0, 0]
