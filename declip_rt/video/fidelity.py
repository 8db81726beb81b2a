"""How near an encode's pictures are to its source's: XPSNR and SSIM, by FFmpeg's filters."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from declip_rt import extras

if TYPE_CHECKING:
    from av.filter.context import FilterContext
    from av.filter.graph import Graph
    from av.video.frame import VideoFrame

PLANES = ("y", "u", "v")
MOST = 100.0  # dB, of planes that are the same
TURNS = {90: ("transpose", "cclock"), -90: ("transpose", "clock"), 180: ("rotate", "PI"), -180: ("rotate", "PI")}


class Fidelity(NamedTuple):
    """Of a pair of pictures: XPSNR in dB of luma and, where there is color, of both chroma planes; SSIM up to 1."""

    xpsnr: tuple[float, ...]
    ssim: float


class Meter:
    """Measures pairs of pictures in their order, each brought to its source's size, matrix and range."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._inputs: list[FilterContext] = []
        self._count = 0

    def measure(self, source: VideoFrame, encode: VideoFrame) -> Fidelity:
        """The frames may be changed."""
        graph = self._graph = self._graph or self._build(source, encode)
        for frame, entry in zip((source, encode), self._inputs, strict=True):
            frame.pts, frame.time_base = self._count, Fraction(1, 25)
            entry.push(frame)
        self._count += 1
        found = graph.vpull().metadata
        planes = [found.get(f"lavfi.xpsnr.xpsnr.{plane}") for plane in PLANES]
        return Fidelity(tuple(min(float(dB), MOST) for dB in planes if dB), float(found["lavfi.ssim.All"]))

    def _build(self, source: VideoFrame, encode: VideoFrame) -> Graph:
        """Both inputs alike, then SSIM, which hands the source's picture on to XPSNR.

        FFmpeg brings both to one matrix and range by itself, and later pictures to the size of the first.
        """
        graph = extras.load("av.filter").Graph()
        graph.threads = 1
        branches = []
        size = (source.height, source.width) if abs(source.rotation) == 90 else (source.width, source.height)
        for frame in (source, encode):
            entry = graph.add(
                "buffer",
                video_size=f"{frame.width}x{frame.height}",
                pix_fmt=frame.format.name,
                time_base="1/25",
                colorspace=str(frame.colorspace),
                range=str(frame.color_range),
            )
            self._inputs.append(entry)
            filters = [TURNS[frame.rotation]] if frame.rotation in TURNS else []
            filters += [("scale", f"{size[0]}:{size[1]}:flags=bicubic"), ("format", _planar(source))]
            filters += [("split", "2")] if frame is encode else []
            nodes = [entry, *(graph.add(name, args) for name, args in filters)]
            for one, other in pairwise(nodes):
                one.link_to(other)
            branches.append(nodes[-1])
        ssim, xpsnr = graph.add("ssim"), graph.add("xpsnr")
        (first, second), sink = branches, graph.add("buffersink")
        first.link_to(ssim, 0, 0)
        second.link_to(ssim, 0, 1)
        ssim.link_to(xpsnr, 0, 0)  # XPSNR weighs errors by what the first picture shows
        second.link_to(xpsnr, 1, 1)
        xpsnr.link_to(sink)
        graph.configure()
        return graph  # type: ignore[no-any-return]


def average(xpsnr: NDArray[np.float64]) -> float:
    """XPSNR in dB of a clip, of that of its pictures and planes (n, planes): the worst plane's, as FFmpeg sums it."""
    amplitude = np.where(xpsnr >= MOST, 0, 10 ** (-xpsnr / 20)).mean(axis=0)
    return float(min(MOST, -20 * np.log10(max(amplitude.max(), 10 ** (-MOST / 20)))))


def _planar(source: VideoFrame) -> str:
    """The pixel format that both are compared in: the source's own where the filters take it."""
    name = source.format.name.replace("yuvj", "yuv")
    return name if name.startswith(("yuv420p", "yuv422p", "yuv444p")) else "yuv444p"
