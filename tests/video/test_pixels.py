"""The pixels that are scored are those that a viewer sees."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from declip_rt.errors import ConfigError, ImageError
from declip_rt.video.reader import Reader, Sample
from tests.video import clips

WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
           9: (0.2627, 0.0593)}  # of red and blue in luma, by the matrix's number in H.273  # fmt: skip
PATCH = 16  # pixels


def first(source: Path | io.BytesIO, **options: object) -> Sample:
    with Reader(source, **options) as reader:  # type: ignore[arg-type]
        return next(reader.samples())


def patches(values: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.kron(values, np.ones((PATCH, PATCH), values.dtype))


def coded(matrix: int, full: bool) -> list[NDArray[np.uint8]]:
    """Luma and chroma of random colors (12, 20), rounded."""
    red, blue = WEIGHTS[matrix]
    rgb = np.random.default_rng(0).random((12, 20, 3))
    luma = rgb @ [red, 1 - red - blue, blue]
    chroma = (rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)
    levels = [255 * luma if full else 16 + 219 * luma, *(128 + (255 if full else 224) * each for each in chroma)]
    return [np.clip(each.round(), 0, 255).astype(np.uint8) for each in levels]


def shown(planes: list[NDArray[np.uint8]], matrix: int, full: bool) -> NDArray[np.float64]:
    """The RGB (12, 20, 3) that H.273 gives for these planes."""
    red, blue = WEIGHTS[matrix]
    luma, first_chroma, second_chroma = (each.astype(float) for each in planes)
    luma = luma / 255 if full else (luma - 16) / 219
    cb, cr = ((each - 128) / (255 if full else 224) for each in (first_chroma, second_chroma))
    r, b = luma + (2 - 2 * red) * cr, luma + (2 - 2 * blue) * cb
    return np.clip(255 * np.stack([r, (luma - red * r - blue * b) / (1 - red - blue), b], -1), 0, 255)


@pytest.mark.parametrize("subsampled", [False, True], ids=["444", "420"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_each_matrix_and_range_within_a_level(matrix: int, full: bool, subsampled: bool) -> None:
    planes = coded(matrix, full)
    large = [patches(each) for each in planes]
    if subsampled:
        large[1:] = [each[::2, ::2] for each in large[1:]]
    tags = {"colorspace": matrix, "color_range": 2 if full else 1}
    made = clips.write_planes(large, "yuv420p" if subsampled else "yuv444p", **tags)
    with Reader(made) as reader:
        rgb = next(reader.samples()).rgb
        assert reader.facts.range == ("full" if full else "limited")
        assert not reader.facts.color_assumed
    middles = rgb[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH].astype(float)
    assert np.abs(middles - shown(planes, matrix, full)).max() < 1


@pytest.mark.parametrize(
    ("height", "color", "matrix", "told"),
    [
        (480, "auto", 6, ("bt601", True)),
        (720, "auto", 1, ("bt709", True)),
        (480, "bt709", 1, ("bt709", False)),
        (720, "bt2020", 9, ("bt2020", False)),
    ],
)
def test_an_untagged_stream_is_taken_by_its_size_and_says_so(
    height: int, color: str, matrix: int, told: tuple[str, bool]
) -> None:
    planes = [np.full((height, height), level, np.uint8) for level in (81, 90, 240)]
    with Reader(clips.write_planes(planes, "yuv444p"), color=color) as reader:
        rgb = next(reader.samples()).rgb
        assert (reader.facts.matrix, reader.facts.color_assumed) == told
    expected = shown([each[:1, :1] for each in planes], matrix, False)
    assert np.abs(rgb[height // 2, height // 2] - expected[0, 0]).max() < 1


@pytest.mark.parametrize("options", [{}, {"keyframes": True}, {"deinterlace": True}], ids=str)
@pytest.mark.parametrize("transfer", [1, 16])
@pytest.mark.parametrize("matrix", [8, 10, 14])
def test_a_matrix_that_ffmpeg_lacks_is_an_error_that_says_what_helps(
    matrix: int, transfer: int, options: dict[str, bool]
) -> None:
    planes = [np.full((48, 64), 4 * level, np.uint16) for level in (81, 90, 240)]
    made = clips.write_planes(planes, "yuv444p10le", colorspace=matrix, color_trc=transfer, color_range=1)
    with pytest.raises(ImageError, match=f"color matrix {matrix}.* cannot be converted: .*another matrix by `color`"):
        first(made, **options)
    named = [first(io.BytesIO(made.getvalue()), color="bt709", **options).rgb]
    named += [first(clips.write_planes(planes, "yuv444p10le", colorspace=1, color_trc=transfer, color_range=1)).rgb]
    assert np.array_equal(*named)


def test_a_strip_is_looked_at_squeezed(tmp_path: Path) -> None:
    strip = np.random.default_rng(0).integers(0, 256, (16384, 16, 3), np.uint8)
    path = tmp_path / "strip.mkv"
    clips.write(path, [strip, strip[::-1].copy()], codec="ffv1", pix_fmt="yuv444p", fps=2)
    with Reader(path) as reader:
        assert [each.rgb.shape for each in reader.samples()] == [strip.shape]
        assert [each.kind for each in reader.events] == []


def test_a_color_that_is_none() -> None:
    with pytest.raises(ConfigError, match="`color` cannot be 'bt470'; choose auto, bt601"):
        Reader(clips.write_planes([np.zeros((16, 16), np.uint8)] * 3, "yuv444p"), color="bt470")


def pq(nits: float) -> float:
    """The signal of a brightness in SMPTE ST 2084."""
    power = (nits / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


@pytest.mark.parametrize(("transfer", "name"), [(16, "pq"), (18, "hlg")])
def test_high_dynamic_range_is_tone_mapped(transfer: int, name: str) -> None:
    signals = [pq(each) for each in (0, 5, 100, 203, 400, 1000, 4000)] if name == "pq" else np.linspace(0, 1, 7)
    luma = np.kron([64 + 876 * np.asarray(signals)], np.ones((32, 32))).round().astype(np.uint16)
    chroma = np.full((16, luma.shape[1] // 2), 512, np.uint16)
    tags = {"colorspace": 9, "color_range": 1, "color_trc": transfer, "color_primaries": 9}
    with Reader(clips.write_planes([luma, chroma, chroma], "yuv420p10le", **tags)) as reader:
        grey = next(reader.samples()).rgb[16, 16::32].astype(int)
        facts = reader.facts
    assert (facts.hdr, facts.transfer, facts.bit_depth, facts.matrix) == (name, name, 10, "bt2020")
    assert np.ptp(grey, axis=1).max() <= 1
    assert (np.diff(grey[:, 0]) > 5).all()
    assert grey[0, 0] <= 1
    assert grey[-1, 0] > 225
    if name == "pq":  # the raw curve shows 203 nits as 146, and all that is brighter flat
        assert 150 <= grey[3, 0] <= 170


def test_ten_bits_are_those_of_eight() -> None:
    planes = coded(1, False)
    deep = [patches(each).astype(np.uint16) * 4 for each in planes]
    deep[1:] = [each[::2, ::2] for each in deep[1:]]
    made = clips.write_planes(deep, "yuv420p10le", colorspace=1, color_range=1)
    rgb = first(made).rgb[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH]
    assert np.abs(rgb - shown(planes, 1, False)).max() < 1


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_a_phone_held_upright(tmp_path: Path, rotation: int, turns: int) -> None:
    picture = clips.photo("astronaut", 320, 180)
    lying, turned = (
        first(clips.write(tmp_path / f"{each}.mp4", [picture], rotation=each)).rgb for each in (0, rotation)
    )
    assert np.array_equal(turned, np.rot90(lying, turns))
    assert turned.flags.c_contiguous
    with Reader(tmp_path / f"{rotation}.mp4") as reader:
        assert (reader.facts.height, reader.facts.width) == turned.shape[:2]
        assert reader.facts.rotation % 360 == rotation % 360


def test_samples_that_are_wider_than_high(tmp_path: Path) -> None:
    wide = clips.photo("chelsea", 720, 576)
    clips.write(tmp_path / "pal.mp4", [wide], sample_aspect_ratio=Fraction(16, 11))
    with Reader(tmp_path / "pal.mp4") as reader:
        rgb = next(reader.samples()).rgb
        assert (reader.facts.sar, reader.facts.width, reader.facts.height) == ("16:11", 1047, 576)
    assert rgb.shape == (576, 1047, 3)
    assert np.abs(rgb.astype(int) - clips.photo("chelsea", 1047, 576)).mean() < 6


def translucent(codec: str, pix_fmt: str, suffix: str) -> io.BytesIO:
    """Five pictures: red, opaque on the left, a quarter of it on the right."""
    made = io.BytesIO()
    with av.open(made, "w", format=suffix) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, pix_fmt
        if codec.startswith("libvpx"):
            stream.options, stream.metadata["alpha_mode"] = {"lossless": "1", "auto-alt-ref": "0"}, "1"
        pixels = np.zeros((96, 128, 4), np.uint8)
        pixels[..., 0], pixels[:, :64, 3], pixels[:, 64:, 3] = 200, 255, 64
        frame = av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format=pix_fmt)
        for index in range(5):
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    made.seek(0)
    return made


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("prores_ks", "yuva444p10le", "mov"),
        ("png", "rgba", "mov"),
        ("libvpx", "yuva420p", "webm"),
        ("libvpx-vp9", "yuva420p", "webm"),
    ],
)
def test_transparency_lies_over_white(codec: str, pix_fmt: str, suffix: str) -> None:
    with Reader(translucent(codec, pix_fmt, suffix), fps=25) as reader:
        samples = [*reader.samples(), reader.at(0.09)]
    assert [each.time for each in samples] == [0, 0.04, 0.08, 0.12, 0.16, 0.08]
    for sample in samples:
        assert np.abs(sample.rgb[48, 32] - np.array([200, 0, 0])).max() <= 2
        assert np.abs(sample.rgb[48, 96] - np.array([241, 191, 191])).max() <= 2
