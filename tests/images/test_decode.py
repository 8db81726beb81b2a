"""Every kind of picture decodes to what a viewer shows, or is one ImageError."""

from __future__ import annotations

import io
import struct
import zlib
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from declip_rt import ImageError
from declip_rt.images.decode import LONGEST, Encoded, decode, from_array, from_pil
from declip_rt.images.jpeg import Scratch
from tests.conftest import encoded, examples, picture, saved


def test_lossless_pixels_come_back_exactly() -> None:
    rgb = picture()
    assert np.array_equal(decode(encoded(rgb, "PNG")), rgb)


@pytest.mark.parametrize(
    "data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF....WEBP"]
)
def test_no_image_is_an_image_error(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode(data)


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(ImageError, match="empty"):
        decode(b"")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 20}])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_truncated_jpeg_is_an_error_not_a_grey_image(options: dict[str, object], part: float) -> None:
    data = encoded(picture(), "JPEG", **options)
    with pytest.raises(ImageError, match="truncated"):
        decode(data[: int(part * len(data))])
    with pytest.raises(ImageError, match="truncated"):
        decode(data[: int(part * len(data))] + b"\xff\xd9")  # an end mark makes it no whole picture


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_without_its_end_mark_is_whole(mode: str, options: dict[str, object]) -> None:
    data = saved(Image.fromarray(picture()).convert(mode), "JPEG", **options)
    made = Encoded(data[:-2]).decode()
    assert np.array_equal(made.rgb, decode(data))
    assert made.damaged == ""


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_what_libjpeg_complains_of_is_told(mode: str) -> None:
    data = saved(Image.fromarray(picture()).convert(mode), "JPEG", quality=95)
    made = Encoded(data.replace(b"\xff\xc4", b"junk\xff\xc4", 1)).decode()
    assert made.damaged == "Corrupt JPEG data: 4 extraneous bytes before marker 0xc4"
    assert made.rgb.shape == picture().shape
    assert Encoded(encoded(picture())).decode().damaged == ""


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    data = saved(Image.fromarray(picture()), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert decode(data[:-2] + scan * 5 + data[-2:]).shape == picture().shape
    with pytest.raises(ImageError, match=r"a JPEG of 2,0.. scans, each of which passes over all pixels"):
        decode(data[:-2] + scan * 2000 + data[-2:])


def test_texts_of_a_png_do_not_spoil_its_pixels() -> None:
    """Neither megabytes of them, nor a wrong checksum; a wrong one of pixels does."""
    rgb = picture()
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * 3_000_000, zip=True)
    assert np.array_equal(decode(saved(Image.fromarray(rgb), "PNG", pnginfo=info)), rgb)
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a comment")
    data = bytearray(saved(Image.fromarray(rgb), "PNG", pnginfo=info))
    data[data.index(b"a comment")] ^= 1
    assert np.array_equal(decode(bytes(data)), rgb)
    data[data.index(b"IHDR") + 6] ^= 1
    with pytest.raises(ImageError):
        decode(bytes(data))


def test_kinds_of_a_format_that_are_not_read_are_named() -> None:
    jpeg = bytearray(encoded(picture(), "JPEG"))
    jpeg[jpeg.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageError, match="a JPEG of 12 bits is not read: convert it to 8 bits first"):
        decode(bytes(jpeg))
    tags = ((256, 4, 2), (257, 4, 2), (258, 3, 32), (262, 3, 2), (273, 4, 200), (277, 3, 3), (279, 4, 48), (339, 3, 3))
    tiff = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    tiff += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    with pytest.raises(ImageError, match="TIFF, or of a kind that is not read, such as floating-point RGB"):
        decode(tiff.ljust(300, b"\0"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_other_truncated_files_are_errors(kind: str) -> None:
    data = encoded(picture(), kind)
    with pytest.raises(ImageError):
        decode(data[: len(data) // 2])


def test_a_corrupt_png_is_an_error() -> None:
    data = bytearray(encoded(picture(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError):
        decode(bytes(data))


@given(st.binary(max_size=200), st.integers(0, 2000), st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF"]))
@examples(150)
def test_any_damage_gives_pixels_or_an_image_error(noise: bytes, at: int, kind: str) -> None:
    data = bytearray(encoded(picture(width=40, height=30), kind))
    data[at : at + len(noise)] = noise
    try:
        rgb = decode(bytes(data))
    except ImageError:
        return
    assert rgb.dtype == np.uint8
    assert rgb.ndim == 3


def test_a_decompression_bomb_is_refused_before_its_pixels_exist() -> None:
    bomb = b"\x89PNG\r\n\x1a\n"
    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    for chunk in (b"IHDR" + size, b"IDAT" + zlib.compress(bytes(1000)), b"IEND"):
        bomb += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(ImageError, match="60000x60000 is more than 1,073,741,824 pixels"):
        decode(bomb)


def test_the_pixel_limit_is_the_callers() -> None:
    with pytest.raises(ImageError, match="320x260 is more than 1,000 pixels"):
        decode(encoded(picture()), max_pixels=1000)


def test_orientation_is_applied() -> None:
    rgb = picture(width=60, height=40)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    assert np.array_equal(decode(saved(Image.fromarray(rgb), exif=exif)), np.rot90(rgb, -1))


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_is_pillows(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(Image.fromarray(picture(width=60, height=40)), "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode(data), np.asarray(ImageOps.exif_transpose(image)))
    made = Encoded(data).decode()
    assert (made.height, made.width) == made.rgb.shape[:2]


@given(
    sides=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    quality=st.integers(1, 100),
    subsampling=st.integers(0, 2),
    mode=st.sampled_from(["RGB", "L"]),
    seed=st.integers(0, 9),
)
@examples(150)
def test_a_jpeg_has_pillows_pixels(
    sides: tuple[int, int], quality: int, subsampling: int, mode: str, seed: int
) -> None:
    image = Image.fromarray(picture(seed, *sides)).convert(mode)
    data = saved(image, "JPEG", quality=quality, subsampling=subsampling)
    scratch = Scratch()
    with Image.open(io.BytesIO(data)) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    assert np.array_equal(Encoded(data).decode(None, scratch).rgb, pixels)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"keep_rgb": True}])
def test_kinds_of_jpeg_have_pillows_pixels(mode: str, options: dict[str, bool]) -> None:
    data = saved(Image.fromarray(picture()).convert(mode), "JPEG", **options)
    with mock.patch("simplejpeg.decode_jpeg", side_effect=ValueError) as ours:
        pixels = decode(data)
    assert ours.called
    assert np.array_equal(decode(data), pixels)


def test_a_jpeg_is_decoded_smaller_where_that_will_do() -> None:
    data = encoded(picture(width=801, height=640), "JPEG", quality=95)
    for least, shape in ((641, (640, 801)), (320, (320, 401)), (160, (160, 201)), (1, (80, 101))):
        made = Encoded(data).decode(least)
        assert made.rgb.shape[:2] == shape
        assert (made.width, made.height) == (801, 640)
        small = np.asarray(Image.fromarray(decode(data)).resize(shape[::-1], Image.Resampling.BOX))
        assert np.abs(made.rgb.astype(int) - small).mean() < 6


def test_broken_exif_does_not_spoil_the_picture() -> None:
    rgb = picture(width=60, height=40)
    assert np.array_equal(decode(saved(Image.fromarray(rgb), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")), rgb)


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    rgb = decode(saved(Image.fromarray(ramp)))
    assert np.array_equal(rgb, np.arange(256, dtype=np.uint8)[None, :, None].repeat(4, 0).repeat(3, 2))


def test_sixteen_bit_tiff_is_scaled() -> None:
    rgb = decode(saved(Image.fromarray(np.full((5, 5), 32768, np.uint16)), "TIFF"))
    assert rgb[2, 2].tolist() == [128, 128, 128]


def test_float_pixels_are_refused_with_a_remedy() -> None:
    with pytest.raises(ImageError, match="convert it to 8 or 16 bits"):
        decode(saved(Image.fromarray(np.zeros((5, 5), np.float32)), "TIFF"))


def test_cmyk_is_converted() -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert decode(saved(red, "TIFF"))[4, 4].tolist() == [255, 0, 0]
    near = decode(saved(red, "JPEG", quality=95))[4, 4].astype(int)
    assert np.abs(near - [255, 0, 0]).max() < 12


def test_transparency_lies_over_white() -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert decode(saved(clear))[0, 0].tolist() == [255, 255, 255]
    assert 125 <= decode(saved(half))[0, 0, 0] <= 129


def test_palette_and_its_transparent_entry() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([9, 9, 9, 200, 100, 50])
    assert decode(saved(image))[0, 0].tolist() == [200, 100, 50]
    assert decode(saved(image, transparency=1))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("mode", "value", "expected"), [("L", 77, 77), ("1", 1, 255), ("LA", (77, 255), 77)])
def test_grey_images(mode: str, value: object, expected: int) -> None:
    assert decode(saved(Image.new(mode, (3, 2), value))).tolist() == np.full((2, 3, 3), expected).tolist()


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_extreme_shapes(size: tuple[int, int]) -> None:
    assert decode(saved(Image.new("RGB", size, "green"))).shape == (size[1], size[0], 3)


def test_pillow_images_take_the_same_way() -> None:
    assert np.array_equal(from_pil(Image.new("L", (3, 2), 9)), np.full((2, 3, 3), 9))


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 4), np.uint8)],
)
def test_arrays_of_another_kind_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"RGB uint8 \(H, W, 3\)"):
        from_array(array)


def test_a_side_too_long_for_exact_crops_is_refused() -> None:
    line = np.zeros((1, LONGEST + 1, 3), np.uint8)
    for take, image in ((decode, encoded(line, "PNG")), (from_array, line), (from_pil, Image.fromarray(line))):
        with pytest.raises(ImageError, match="a side of more than 8,388,608 pixels"):
            take(image)
    assert from_array(line[:, 1:]).shape == (1, LONGEST, 3)
