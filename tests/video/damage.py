"""Clips made on the spot: real photos, panned and zoomed, with three cuts; and the damage that is done to them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Frame = NDArray[np.uint8]  # (H, W, 3) RGB
Damage = Callable[[list[Frame]], list[Frame]]
PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
CLEAN = ("astronaut", "chelsea", "coffee", "rocket", "camera")  # those of the photos that nothing was done to
SIZE, FPS, SCENE = (480, 270), 25, 5.0


def clip(first: int = 0, seconds: float = 4 * SCENE, size: tuple[int, int] = SIZE) -> list[Frame]:
    """Four of the photos, from the `first` on, each panned and zoomed for SCENE seconds."""
    names = [CLEAN[(first + i) % len(CLEAN)] for i in range(4)]
    return [frame for i, name in enumerate(names) for frame in _moved(name, i, size)][: round(seconds * FPS)]


def _moved(name: str, way: int, size: tuple[int, int]) -> Iterator[Frame]:
    photo = Image.open(PHOTOS / f"{name}.jpg").convert("RGB")
    wide = min(photo.width, photo.height * size[0] / size[1])
    for at in np.linspace(0, 1, round(SCENE * FPS)):
        width = wide * (0.95 - 0.15 * (at if way % 2 else 1 - at))
        height = width * size[1] / size[0]
        left = (photo.width - width) * (at if way % 3 else 1 - at)
        top = (photo.height - height) * (0.3 + 0.4 * at)
        yield np.asarray(photo.resize(size, Image.Resampling.BICUBIC, (left, top, left + width, top + height)))


def blur(frames: list[Frame]) -> list[Frame]:
    return [np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(3))) for frame in frames]


def noise(frames: list[Frame]) -> list[Frame]:
    rng = np.random.default_rng(0)
    return [np.clip(frame + rng.normal(0, 25, frame.shape), 0, 255).astype(np.uint8) for frame in frames]


def crf45(frames: list[Frame]) -> list[Frame]:
    made = io.BytesIO()
    write(made, frames, format="mp4", crf=45)
    made.seek(0)
    with av.open(made) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def freeze(frames: list[Frame]) -> list[Frame]:
    return frames[:1] * len(frames)


def black(frames: list[Frame]) -> list[Frame]:
    return [np.zeros_like(frame) for frame in frames]


def dark(frames: list[Frame]) -> list[Frame]:
    return [(frame * 0.15).astype(np.uint8) for frame in frames]


def damaged(frames: list[Frame], damage: Damage, start: float, end: float) -> list[Frame]:
    """The frames with those from `start` to `end`, in seconds, damaged."""
    first, last = round(start * FPS), round(end * FPS)
    return [*frames[:first], *damage(frames[first:last]), *frames[last:]]


def write(
    file: Path | io.BytesIO,
    frames: Iterable[Frame],
    *,
    format: str | None = None,
    codec: str = "libx264",
    crf: int = 18,
    pixels: str = "yuv420p",
    ticks: Iterable[int] | None = None,
    lost: Callable[[int, float], bool] = lambda number, time: False,
    **options: str,
) -> None:
    """Encodes frames. ticks: the time of each in 1/FPS s. lost: whether a packet, by its number and time, is left out."""
    frames = list(frames)
    with av.open(str(file) if isinstance(file, Path) else file, "w", format=format) as container:
        stream = container.add_stream(codec, FPS, options={"crf": str(crf), "preset": "veryfast", **options})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base = pixels, Fraction(1, FPS)
        number = 0
        packets = []
        for tick, rgb in zip(ticks or range(len(frames)), frames, strict=False):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, FPS)
            packets += stream.encode(frame)
        for packet in (*packets, *stream.encode(None)):
            time = float(packet.pts * packet.time_base) if packet.pts is not None else 0.0
            if not lost(number, time):
                container.mux(packet)
            number += 1
