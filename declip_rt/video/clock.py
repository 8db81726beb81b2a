"""The seconds of pictures, by their timestamps alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declip_rt.video.events import Event

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

BACK = 0.25  # seconds: damaged streams give pictures that are out of order by less
AHEAD = 10.0  # seconds of a jump in streams whose timestamps may jump


class Clock:
    """Counts from the first picture. Where timestamps start again, seconds go on.

    frame: seconds of a picture, where the stream does not tell. jumps: whether timestamps of this container may jump
    ahead, as those of joined transport streams do; a gap in other containers is a picture that stands. apart: whether
    it is known that none jump ahead before the next picture, as key frames may be far apart.
    """

    def __init__(self, frame: float, jumps: bool) -> None:
        self.frame, self.jumps, self.apart = frame, jumps, False
        self.events: list[Event] = []
        self.zero: float | None = None  # the stream's own time of the first picture
        self._raw: float | None = None  # that of the last
        self._last, self._until = 0.0, 0.0

    def tell(self, frame: VideoFrame) -> float:
        """The picture's seconds. They never fall."""
        raw = frame.time
        if raw is None:  # a bare elementary stream
            raw = 0.0 if self._raw is None else self._raw + self.frame
        if self.zero is None:
            self.zero = raw
        step = 0.0 if self._raw is None else raw - self._raw
        if step < -BACK or (self.jumps and not self.apart and step > AHEAD):
            self.zero = raw - self._until
            detail = f"timestamps jump from {self._raw:.3f} to {raw:.3f} s"
            self.events.append(Event(self._until, self._until, "discontinuity", detail))
        self._raw = raw
        self._last = max(self._last, raw - self.zero)
        self._until = max(self._until, self._last + self.length(frame))
        return self._last

    def length(self, frame: VideoFrame) -> float:
        """For how many seconds the picture is meant to stand."""
        base = frame.time_base
        return frame.duration * float(base) if frame.duration and base else self.frame

    def reach(self, until: float) -> None:
        """The stream was read up to here, in seconds, of which no picture may tell."""
        self._until = max(self._until, until)

    def rewind(self) -> None:
        """Forgets the last picture, as another place of the stream follows."""
        self._raw, self._last, self._until = None, 0.0, 0.0
