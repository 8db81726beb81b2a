"""Packets to pictures with their times, whatever is wrong with either."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING, Any

from declip_rt import extras
from declip_rt.errors import ImageError
from declip_rt.video.clock import AHEAD, BACK, Clock
from declip_rt.video.container import reason_of
from declip_rt.video.deinterlace import Deinterlacer
from declip_rt.video.events import Damages, Event
from declip_rt.video.sampling import SLACK, Picture

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

LIBVPX = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
USUAL_RATE = 25.0  # pictures a second, where a stream does not tell
LOOKED_AT = 1000  # packets that tell whether a stream's rate varies
UNEVEN = 0.1, 0.002, 0.1  # steps vary by this share or so many seconds, and so many of them do
BEFORE = -10.0  # seconds: some containers find their start only from before it
LOST = 0.5  # seconds that a container may promise too much


class Decoder:
    """Decodes a stream, in several threads, and counts what is damaged.

    keyframes: whether the others are skipped. deinterlace: whether interlaced pictures are made whole.
    """

    def __init__(
        self, container: InputContainer, stream: VideoStream, *, keyframes: bool = False, deinterlace: bool = False
    ) -> None:
        self.container, self.stream = container, stream
        self.damages = Damages()
        self.resizes: list[Event] = []
        jumps = bool(container.format.flags & extras.load("av.format").Flags.ts_discont.value)
        self.clock = Clock(1 / float(stream.average_rate or stream.guessed_rate or USUAL_RATE), jumps)
        self._deinterlacer = Deinterlacer() if deinterlace else None
        self._errors = extras.load("av.error")
        self._base = float(stream.time_base or 0)
        self._size: tuple[int, int] | None = None
        self._stamps: list[int] = []  # of the first packets
        self._reached = 0.0  # seconds, by the container's own time
        self._ends = 0.0  # of this stream, since its timestamps jumped
        self._dts: int | None = None  # of the packet before
        self._jumps = 0  # of packets
        self._keyframes = keyframes
        self.interlaced = False  # whether a picture has said so
        self.time = 0.0  # of the picture before
        self._codec = _codec_of(stream)
        self._skips = self._codec.skip_frame
        if not self._codec.is_open:  # one of a container that was lent may be
            self._codec.thread_type = "AUTO"
        if keyframes:
            self._codec.skip_frame = "NONKEY"

    def begin(self) -> None:
        """Goes to the first packet of a container that was read, where it can be sought in."""
        if self._codec.is_open and not self._seek(0.0):  # of one that was not read a seek might lose the place
            self._seek(BEFORE)

    def close(self) -> None:
        """Leaves the codec as it was."""
        self._codec.skip_frame = self._skips

    def pictures(self) -> Iterator[Picture]:
        """All pictures from here to the end, in their order."""
        for packet in self._packets():
            if packet.stream.index != self.stream.index:
                self._reach(packet)
                continue
            if packet.pts is not None and len(self._stamps) < LOOKED_AT:
                self._stamps.append(packet.pts)
            self._follow(packet)
            for frame in self._decode(packet):
                yield self._picture(frame)
        if self._deinterlacer:
            for frame in self._deinterlacer.flush():
                yield self._picture(frame)

    def pictures_from(self, start: float) -> Iterator[Picture]:
        """Those from the picture that stands at `start`, in seconds, or from one before. Raises ImageError."""
        places = (start, 0.0, BEFORE)
        for place in places[1:] if self.clock.jumps else places:  # timestamps that may start again tell no place
            if not self._seek(place):
                continue
            pictures = self.pictures()
            first = next(pictures, None)
            if first is not None and first.time <= (start if place > 0 else 0) + SLACK:
                yield first
                yield from pictures
                return
        raise ImageError("its start is not found again, as it cannot be sought in; read it without `start`")

    def _seek(self, time: float) -> bool:
        """Goes to the key frame before a time; whether that was possible, not whether it is the right one."""
        try:
            self.container.seek(round(((self.clock.zero or 0.0) + time) / self._base), stream=self.stream)
        except (self._errors.FFmpegError, OSError, ValueError):
            return False
        self._codec.flush_buffers()
        self._ends, self._dts, self._jumps = 0.0, None, len(self.clock.events)
        self.clock.rewind()
        self._size = None
        if self._deinterlacer:
            self._deinterlacer = Deinterlacer()
        return True

    def varies(self) -> bool:
        """Whether pictures come unevenly, by the timestamps of the first packets."""
        stamps = sorted(set(self._stamps))
        steps = [(after - before) * self._base for before, after in itertools.pairwise(stamps)]
        if not steps:
            return False
        usual = median(steps)
        share, least, many = UNEVEN
        return sum(abs(step - usual) > max(share * usual, least) for step in steps) > many * len(steps)

    @property
    def end(self) -> float:
        """Seconds at which the last packet ends, whether it was decoded or skipped; 0 where none says since a jump."""
        return self._ends - (self.clock.zero or 0.0) if self._jumps == len(self.clock.events) else 0.0

    def missing(self, until: float) -> Event | None:
        """What the container promised beyond the last picture's end, in seconds."""
        zero = self.clock.zero or 0.0
        if self.stream.duration:
            promised = (self.stream.start_time or 0) * self._base + self.stream.duration * self._base - zero
            reached = until
        elif self.container.duration:
            promised = self.container.duration / 1e6
            reached = max(until, self._reached - (self.container.start_time or 0) / 1e6)
        else:
            return None
        if promised - reached <= LOST + self.clock.frame:
            return None
        return Event(until, promised, "truncated", f"ends at {until:.1f} of {promised:.1f} s")

    def _packets(self) -> Iterator[Packet[Any]]:
        """All of the stream; those of others, too, where they tell how far an unknown length was reached."""
        streams = [self.stream] if self.stream.duration else [*self.container.streams]
        try:
            yield from self.container.demux(*streams)
        except IndexError:
            pass  # PyAV looks for streams that came up midway, after the last packet
        except (self._errors.FFmpegError, OSError, ValueError) as error:
            self.damages.add(self.time, self.time, f"place that cannot be read: {reason_of(error)}")

    def _decode(self, packet: Packet[Any]) -> list[VideoFrame]:
        try:
            frames = self._codec.decode(packet)
        except (self._errors.FFmpegError, ValueError):
            time = self._time_of(packet)
            self.damages.add(time, time + self.clock.frame, "packet without a picture")
            return []
        self.interlaced = self.interlaced or any(frame.interlaced_frame for frame in frames)
        return self._deinterlacer.push(frames) if self._deinterlacer else frames

    def _picture(self, frame: VideoFrame) -> Picture:
        self.clock.apart = self._keyframes and self._jumps == len(self.clock.events)
        time = self.clock.tell(frame)
        until = time + self.clock.length(frame)
        size = (frame.width, frame.height)
        if self._size not in (None, size):
            assert self._size is not None
            detail = f"{self._size[0]}x{self._size[1]} -> {size[0]}x{size[1]}"
            self.resizes.append(Event(time, time, "resize", detail))
        self._size, self.time = size, time
        if not frame.is_corrupt:
            return Picture(frame, time, until)
        self.damages.add(time, until, "picture without all its data")
        return Picture(frame, time, until, ("corrupt",))

    def _time_of(self, packet: Packet[Any]) -> float:
        """A packet's seconds, or those of the last picture where it does not tell."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or self.clock.zero is None:
            return self.time
        return max(0.0, stamp * self._base - self.clock.zero)

    def _follow(self, packet: Packet[Any]) -> None:
        """Notes where a packet ends, and whether timestamps jump: key frames are too far apart to tell."""
        end = self._reach(packet)
        if self.clock.jumps and packet.dts is not None:
            if self._dts is not None and not -BACK <= (packet.dts - self._dts) * self._base <= AHEAD:
                if self._keyframes:
                    self.clock.reach(self.end)
                self._jumps, self._ends = self._jumps + 1, end
            self._dts = packet.dts
        self._ends = max(self._ends, end)

    def _reach(self, packet: Packet[Any]) -> float:
        """Notes and gives the end of a packet, by the container's own time."""
        if packet.pts is None or not packet.time_base:
            return 0.0
        end = (packet.pts + (packet.duration or 0)) * float(packet.time_base)
        self._reached = max(self._reached, end)
        return end


def _codec_of(stream: VideoStream) -> VideoCodecContext:
    """What decodes the stream: FFmpeg's own VP8 and VP9 leave transparency out."""
    name = stream.codec_context.name
    said = {key.lower(): value for key, value in stream.metadata.items()}
    if name in LIBVPX and said.get("alpha_mode") == "1" and LIBVPX[name] in extras.load("av").codecs_available:
        return extras.load("av").CodecContext.create(LIBVPX[name], "r")  # type: ignore[no-any-return]
    return stream.codec_context
