"""Frames on a pipe: YUV4MPEG2 as FFmpeg writes it, raw frames, and streams that break."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from declip_rt import ConfigError, ImageError
from declip_rt.video.pipe import Pipe
from declip_rt.video.planes import pictures, to_frame
from tests.video.clips import photo

HEADER = b"YUV4MPEG2 W4 H2 F30000:1001 Ip A16:11 C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL\n"
FRAME = b"FRAME\n" + bytes(range(12))


def pipe(data: bytes, **told: object) -> Pipe:
    return Pipe(io.BytesIO(data), **told)  # type: ignore[arg-type]


class Trickle(io.RawIOBase):
    """Gives a byte at a time, as a slow writer may."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        return self._data.readinto(into[:1])


def y4m(pix: str, width: int = 63, height: int = 35) -> bytes:
    """Two frames, written by FFmpeg. The format's own tag is that of its pixels."""
    made = io.BytesIO()
    with av.open(made, "w", format="yuv4mpegpipe", options={"strict": "-1"}) as container:
        stream = container.add_stream("wrapped_avframe", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pix
        for seed in range(2):
            rgb = np.roll(photo("coffee", width, height), 5 * seed, 1)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix)
            frame.pts = seed
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return made.getvalue()


def test_a_header_says_all_of_the_format() -> None:
    found = pipe(HEADER + FRAME).format
    assert (found.width, found.height, found.pix, found.fps) == (4, 2, "yuv420p", Fraction(30000, 1001))
    assert (found.full, found.sar, found.interlaced, found.size) == (True, Fraction(16, 11), False, 12)
    assert pipe(HEADER.replace(b"Ip", b"It")).format.interlaced


def test_frames_come_whole_from_a_writer_that_is_slow() -> None:
    frames = [*Pipe(Trickle(HEADER + FRAME + FRAME.replace(b"FRAME", b"FRAME Ixyz"))).frames()]  # type: ignore[arg-type]
    assert [bytes(frame) for frame in frames] == [bytes(range(12))] * 2


@pytest.mark.parametrize("pix", ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le"])
@pytest.mark.parametrize("told", [b"", b" XCOLORRANGE=FULL", b" XCOLORRANGE=LIMITED"])
def test_frames_of_ffmpeg_are_read_as_ffmpeg_reads_them(pix: str, told: bytes) -> None:
    data = y4m(pix).replace(b"\n", told + b"\n", 1)
    found = [picture.frame for picture in pictures(pipe(data))]
    with av.open(io.BytesIO(data), format="yuv4mpegpipe") as container:
        wanted = [*container.decode(video=0)]
    assert len(found) == len(wanted) == 2
    for one, other in zip(found, wanted, strict=True):
        assert one.format.name == other.format.name == pix
        assert one.color_range == other.color_range
        assert np.array_equal(one.to_ndarray(format="rgb24"), other.to_ndarray(format="rgb24"))


@pytest.mark.parametrize("pix", ["rgb24", "bgr24", "yuv420p", "nv12"])
def test_raw_frames_are_what_was_written(pix: str) -> None:
    rgb = photo("coffee", 64, 36)
    wanted = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix.replace("nv12", "yuv420p"))
    raw = wanted.to_ndarray().reshape(-1)
    if pix == "nv12":
        luma, u, v = np.split(raw, [64 * 36, 64 * 36 * 5 // 4])
        raw = np.concatenate([luma, np.stack([u, v], -1).ravel()])
    made = pipe(2 * raw.tobytes(), size=(64, 36), pix=pix, fps=25)
    found = [*pictures(made)]
    assert [(picture.time, picture.until) for picture in found] == [(0, 0.04), (0.04, 0.08)]
    for picture in found:
        assert np.array_equal(picture.frame.to_ndarray(format="rgb24"), wanted.to_ndarray(format="rgb24"))


def test_a_frame_has_memory_of_its_own() -> None:
    made = pipe(HEADER + FRAME + b"FRAME\n" + bytes(12))
    first, _ = made.frames()
    frame = to_frame(first, made.format)
    first[:] = 0
    assert bytes(frame.planes[0])[:4] == bytes(range(4))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ended before its first frame"),
        (HEADER, "ended before its first frame"),
        (HEADER + FRAME + FRAME[:-1], "ends within frame 1, after 11 of 12 bytes"),
        (HEADER + FRAME + b"FRAMES", "is longer than|ends within a header"),
        (HEADER + FRAME + b"\0\0\0\0\0\0", "frame 1 begins with .* not with FRAME: the stream is damaged"),
        (b"YUV4MPEG2 W4 H2 F25:1", "ends within a header"),
        (b"YUV4MPEG2 " + b"X" * 2000, "longer than 1024 bytes"),
        (b"YUV4MPEG2 H2 F25:1\n", "says no size"),
        (b"YUV4MPEG2 W4 H2 F25:1 C411\n", "C411 are not read; convert them"),
        (b"YUV4MPEG2 W999999999 H999999999 F25:1\n", "is no size of a frame"),
    ],
)
def test_a_broken_stream_says_where(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        [*pipe(data).frames()]


def test_raw_frames_need_their_format() -> None:
    with pytest.raises(ConfigError, match="no YUV4MPEG2; of raw frames give `size`, `pix` and `fps`"):
        pipe(b"\0" * 100)
    with pytest.raises(ConfigError, match="does not tell its frame rate: give it with `fps`"):
        pipe(HEADER.replace(b"30000:1001", b"0:0"))
    assert pipe(HEADER.replace(b"30000:1001", b"0:0"), fps=30).format.fps == 30
    with pytest.raises(ImageError, match="ends within frame 1, after 3 of 12 bytes"):
        [*pipe(bytes(15), size=(4, 2), pix="nv12", fps=25).frames()]
