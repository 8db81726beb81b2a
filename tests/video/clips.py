"""Clips for the tests, made on the spot."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

RGB = NDArray[np.uint8]  # (H, W, 3)
PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
FAST = {"preset": "ultrafast", "threads": "1"}


def photo(name: str, width: int, height: int) -> RGB:
    """One of examples/photos, without its suffix, in this size."""
    with Image.open(PHOTOS / f"{name}.jpg") as image:
        return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))


def panned(picture: RGB, width: int, height: int, count: int, step: int = 2) -> Iterator[RGB]:
    """Pictures of a window that moves over a larger picture, to and fro."""
    space = picture.shape[1] - width
    top = (picture.shape[0] - height) // 2
    for index in range(count):
        place = (index * step) % (2 * space) if space else 0
        left = min(place, 2 * space - place)
        yield np.ascontiguousarray(picture[top : top + height, left : left + width])


def scenes(
    seconds: float, fps: float = 25.0, width: int = 320, height: int = 180,
    names: Sequence[str] = ("astronaut", "chelsea", "coffee"),
) -> Iterator[RGB]:  # fmt: skip
    """Photos that are panned over, one after the other, of the same length each."""
    count = round(seconds * fps)
    for place, name in enumerate(names):
        first, last = count * place // len(names), count * (place + 1) // len(names)
        yield from panned(photo(name, width + width // 3, height + height // 3), width, height, last - first)


def write(
    target: Path | io.BytesIO, pictures: Iterable[RGB], *, fps: float = 25.0, times: Sequence[float] | None = None,
    codec: str = "libx264", pix_fmt: str = "yuv420p", gop: int = 25, crf: int = 18, format: str | None = None,
    options: Mapping[str, str] | None = None, rotation: int = 0, **context: Any,
) -> Path | io.BytesIO:  # fmt: skip
    """Encodes RGB pictures. times: seconds of each, where they are not even. rotation: degrees counterclockwise.

    context: attributes of the encoder.
    """
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(target if isinstance(target, io.BytesIO) else str(target), "w", format=format) as container:
        stream = None
        for index, picture in enumerate(pictures):
            if stream is None:
                stream = container.add_stream(codec, rate=rate)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt, stream.gop_size = pix_fmt, gop
                crf_option = {"crf": str(crf)} if codec in ("libx264", "libx265") else {}
                stream.options = (FAST if codec.startswith("libx26") else {}) | crf_option | dict(options or {})
                for name, value in context.items():
                    setattr(stream.codec_context, name, value)
                if rotation:
                    stream.set_display_rotation(rotation)
                if times is not None:
                    stream.codec_context.time_base = Fraction(1, 90_000)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index if times is None else round(times[index] * 90_000)
            frame.time_base = 1 / rate if times is None else Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode())
    return target


Change = Callable[[int, Any], Any]  # of a packet's number and the packet: the packet, another one, or none


def remux(source: Path, target: Path, change: Change, format: str | None = None) -> Path:
    """Copies packets without decoding them, but for what is changed."""
    with av.open(str(source)) as read, av.open(str(target), "w", format=format) as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        for number, packet in enumerate(read.demux(video=0)):
            if packet.dts is not None and (changed := change(number, packet)) is not None:
                changed.stream = stream
                written.mux(changed)
    return target


def dropped(start: float, end: float, every: int = 1) -> Change:
    """Leaves out each nth packet between two times in seconds."""
    return lambda number, packet: (
        None if start <= packet.pts * packet.time_base < end and number % every == every - 1 else packet
    )


def garbled(start: float, end: float) -> Change:
    """Overwrites bytes of packets between two times in seconds."""

    def change(number: int, packet: Any) -> Any:
        if not start <= packet.pts * packet.time_base < end:
            return packet
        data, dice = bytearray(bytes(packet)), random.Random(number)
        for _ in range(max(1, len(data) // 50)):
            data[dice.randrange(len(data) // 4, len(data))] = dice.randrange(256)
        made = av.Packet(bytes(data))
        made.pts, made.dts, made.time_base, made.duration = packet.pts, packet.dts, packet.time_base, packet.duration
        made.is_keyframe = packet.is_keyframe
        return made

    return change


def write_planes(planes: Sequence[NDArray[Any]], pix_fmt: str, **tags: int) -> io.BytesIO:
    """A picture of YUV planes as an MP4 without loss. tags: the stream's color properties by H.273."""
    made = io.BytesIO()
    with av.open(made, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = planes[0].shape
        stream.pix_fmt, stream.options = pix_fmt, FAST | {"qp": "0"}
        frame = av.VideoFrame(stream.width, stream.height, pix_fmt)
        for plane, values in zip(frame.planes, planes, strict=True):
            rows = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
            rows[:, : plane.width] = values
            plane.update(rows.tobytes())
        for name, value in tags.items():
            setattr(frame, name, value)
            setattr(stream.codec_context, name, value)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    made.seek(0)
    return made
