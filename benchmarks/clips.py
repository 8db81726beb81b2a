"""Clips made on the spot: photos that are panned and zoomed, with three cuts; and the damage that is done to them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Frame = NDArray[np.uint8]  # (H, W, 3) RGB
Damage = Callable[[list[Frame]], list[Frame]]
EXAMPLES = Path(__file__).parents[1] / "examples" / "photos"
CLEAN = tuple(
    EXAMPLES / f"{name}.jpg" for name in ("astronaut", "chelsea", "coffee", "rocket", "camera")
)  # undistorted
SIZE, FPS, SCENE, SCENES = (480, 270), 25, 5.0, 4  # pixels, frames a second, seconds
SECONDS = SCENE * SCENES


def clip(first: int = 0, photos: Sequence[Path] = CLEAN) -> list[Frame]:
    """Four of the photos, from the `first` on, each panned and zoomed for SCENE seconds."""
    chosen = [photos[(first + i) % len(photos)] for i in range(SCENES)]
    return [frame for way, photo in enumerate(chosen) for frame in _moved(photo, way)]


def _moved(file: Path, way: int) -> Iterator[Frame]:
    with Image.open(file) as opened:
        photo = opened.convert("RGB")
    widest = min(photo.width, photo.height * SIZE[0] / SIZE[1])
    for at in np.linspace(0, 1, round(SCENE * FPS)):
        width = widest * (0.95 - 0.15 * (at if way % 2 else 1 - at))
        height = width * SIZE[1] / SIZE[0]
        left = (photo.width - width) * (at if way % 3 else 1 - at)
        top = (photo.height - height) * (0.3 + 0.4 * at)
        box = (left, top, left + width, top + height)
        yield np.asarray(photo.resize(SIZE, Image.Resampling.BICUBIC, box, reducing_gap=2))


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


def lost(frames: list[Frame]) -> list[Frame]:
    """The frames as they are: their packets are lost, see `write`."""
    return frames


FAULTS: dict[Damage, tuple[str, ...]] = {  # the kinds of event that tell of it
    blur: ("low",),
    noise: ("low",),
    crf45: ("low",),
    dark: ("low", "black"),  # a dark picture that is made darker has no light
    freeze: ("freeze",),
    black: ("black",),
    lost: ("corrupt", "freeze", "low"),
}


def damaged(frames: list[Frame], damage: Damage, start: float, end: float) -> list[Frame]:
    """The frames with those from `start` to `end`, in seconds, damaged."""
    first, last = round(start * FPS), round(end * FPS)
    return [*frames[:first], *damage(frames[first:last]), *frames[last:]]


def write(
    file: Path | io.BytesIO,
    frames: Sequence[Frame],
    *,
    format: str | None = None,
    crf: int = 18,
    pixels: str = "yuv420p",
    ticks: Sequence[int] | None = None,
    rotation: int = 0,
    gap: tuple[float, float] | None = None,
) -> None:
    """Encodes frames by x264, with a key frame a second.

    ticks: the time of each in 1/FPS s, where they are not even. rotation: degrees counterclockwise that a player turns
    by. gap: seconds between which half of the packets are lost.
    """
    with av.open(str(file) if isinstance(file, Path) else file, "w", format=format) as container:
        options = {"crf": str(crf), "preset": "veryfast"}
        stream = container.add_stream("libx264", FPS, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base, stream.gop_size = pixels, Fraction(1, FPS), FPS
        if rotation:
            stream.set_display_rotation(rotation)
        packets = []
        for tick, rgb in zip(ticks or range(len(frames)), frames, strict=True):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, FPS)
            packets += stream.encode(frame)
        for number, packet in enumerate([*packets, *stream.encode(None)]):
            if not (gap and number % 2 and gap[0] <= float(packet.pts * packet.time_base) < gap[1]):
                container.mux(packet)


def vfr(file: Path, frames: Sequence[Frame]) -> None:
    """Every third frame alone in each second half of a second."""
    kept = [i for i in range(len(frames)) if i % FPS < FPS // 2 or i % 3 == 0]
    write(file, [frames[i] for i in kept], ticks=kept)


def rotated(file: Path, frames: Sequence[Frame]) -> None:
    """On its side, and said so."""
    write(file, [np.rot90(frame).copy() for frame in frames], rotation=-90)


def deep(file: Path, frames: Sequence[Frame]) -> None:
    """Of 10 bits."""
    write(file, frames, pixels="yuv420p10le")


def joined(file: Path, frames: Sequence[Frame]) -> None:
    """Two transport streams, one behind the other: timestamps start again."""
    half = len(frames) // 2
    parts = [io.BytesIO(), io.BytesIO()]
    for part, some in zip(parts, (frames[:half], frames[half:]), strict=True):
        write(part, some, format="mpegts")
    file.write_bytes(b"".join(part.getvalue() for part in parts))


VARIANTS = {"plain": (write, ".mp4"), "vfr": (vfr, ".mp4"), "rotated": (rotated, ".mp4"), "10-bit": (deep, ".mp4")}
VARIANTS |= {"joined": (joined, ".ts")}
