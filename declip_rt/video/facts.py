"""What is to be known of a video stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from declip_rt.images.color import HDR
from declip_rt.video.pixels import Pixels, sides

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Names of numbers in ITU-T H.273.
MATRICES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "bt709", 8: "linear", 13: "srgb", 14: "bt709", 15: "bt709"}
RANGES = {1: "limited", 2: "full"}


@dataclass(frozen=True)
class Facts:
    """Of a stream. width, height: in pixels as they are scored: upright and square.

    fps: pictures a second on average, as the container says. color_assumed: whether the matrix is not the stream's own
    word. rotation: degrees counterclockwise. sar: sample aspect ratio, such as "16:11". hdr: "pq", "hlg" or "-".
    """

    codec: str
    width: int
    height: int
    fps: float
    vfr: bool
    bit_depth: int
    matrix: str
    transfer: str
    range: str
    color_assumed: bool
    rotation: int
    sar: str
    interlaced: bool
    hdr: str

    @classmethod
    def of(cls, stream: VideoStream, frame: VideoFrame, pixels: Pixels) -> Facts:
        """Of a stream whose first picture is at hand."""
        width, height = sides(frame, pixels.aspect)
        matrix, assumed = pixels.matrix(frame)
        transfer = HDR.get(frame.color_trc, "").lower() or TRANSFERS.get(frame.color_trc, "unknown")
        full = frame.format.name.startswith("yuvj") or frame.format.is_rgb
        aspect = pixels.aspect
        return cls(
            codec=stream.codec_context.name,
            width=width,
            height=height,
            fps=float(stream.average_rate or stream.guessed_rate or 0),
            vfr=False,
            bit_depth=max(each.bits for each in frame.format.components),
            matrix=MATRICES.get(matrix, "unknown"),
            transfer=transfer,
            range=RANGES.get(frame.color_range, "full" if full else "limited"),
            color_assumed=assumed,
            rotation=frame.rotation,
            sar=f"{aspect.numerator}:{aspect.denominator}",
            interlaced=frame.interlaced_frame,
            hdr=HDR.get(frame.color_trc, "-").lower(),
        )
