"""Frames of a pipe as the frames that decoders give, so that both are converted, looked at and scored alike."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from declip_rt.extras import load
from declip_rt.video.pipe import Format, Pipe
from declip_rt.video.pixels import filtered
from declip_rt.video.sampling import Picture

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


def pictures(pipe: Pipe) -> Iterator[Picture]:
    """The frames of a pipe with their times. Raises ImageError where the stream breaks off."""
    for number, data in enumerate(pipe.frames()):
        begin, end = (float(each / pipe.format.fps) for each in (number, number + 1))
        yield Picture(to_frame(data, pipe.format), begin, end)


def to_frame(data: NDArray[np.uint8], format: Format) -> VideoFrame:
    """A frame of PyAV, of the bytes of one in the stream (size,).

    It says where its chroma lies, as those of decoders do: that counts as chroma is made larger.
    NV12 becomes YUV 4:2:0: of the same samples FFmpeg makes other RGB where the chroma planes are woven.
    """
    woven = format.pix == "nv12"
    made = load("av").VideoFrame(format.width, format.height, "yuv420p" if woven else format.pix)
    made.color_range = {None: 0, False: 1, True: 2}[format.full]
    planes = _planes(data, format)
    if woven:
        planes = [planes[0], planes[1][:, 0::2], planes[1][:, 1::2]]
    for plane, samples in zip(made.planes, planes, strict=True):
        memory = np.frombuffer(plane, samples.dtype).reshape(-1, plane.line_size // samples.itemsize)
        memory[: samples.shape[0], : samples.shape[1]] = samples
    if format.siting is None:
        return made  # type: ignore[no-any-return]
    made.pts = 0
    return filtered(made, ("setparams", f"chroma_location={format.siting}"))  # a frame of PyAV cannot be told


def as_stream(format: Format) -> Any:
    """What Pixels and Facts ask of a stream."""
    codec = SimpleNamespace(name="rawvideo", sample_aspect_ratio=format.sar)
    return SimpleNamespace(codec_context=codec, sample_aspect_ratio=format.sar, average_rate=format.fps)


def _planes(data: NDArray[np.uint8], format: Format) -> list[NDArray[Any]]:
    values = data if format.bits == 8 else data.view("<u2")
    ends = np.cumsum([rows * samples for rows, samples in format.planes])[:-1]
    return [each.reshape(shape) for each, shape in zip(np.split(values, ends), format.planes, strict=True)]
