"""Cuts, freezes and black, in all pictures that are decoded: what scores of single pictures cannot see."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from declip_rt import extras
from declip_rt.video.events import TOUCHING, Event, join
from declip_rt.video.pixels import build_graph, conversion
from declip_rt.video.sampling import SLACK, Picture

if TYPE_CHECKING:
    from av.filter.graph import Graph
    from av.video.frame import VideoFrame

WIDTH = 480  # pixels that a picture is looked at in
TALLEST = 4 * WIDTH  # a picture that is a strip is squeezed
PLAIN = 1  # the color matrix that pictures are looked at with: luma is the same by all, and FFmpeg lacks some
MICRO = Fraction(1, 1_000_000)  # seconds of a unit of time in the graph
CUT = 10  # percent: the score of FFmpeg's scdet
FREEZE, BLACK = 0.5, 0.1  # seconds, at least
FILTERS = (("scdet", f"t={CUT}"), ("freezedetect", f"n=-60dB:d={FREEZE}"), ("blackdetect", f"d={BLACK}"))


class Shrinker:
    """Makes small gray pictures, all of the size that the first one asks for."""

    def __init__(self) -> None:
        self._reformatter = extras.load("av.video.reformatter").VideoReformatter()
        self._height = 0

    def shrink(self, picture: Picture) -> VideoFrame:
        """WIDTH pixels wide, of full range, with its time in MICRO. Raises ImageError."""
        frame = picture.frame
        self._height = self._height or min(max(2, round(WIDTH * frame.height / frame.width)), TALLEST)
        with conversion(frame):
            small = self.to_gray(frame, WIDTH, self._height)
        small.pts, small.time_base = round(picture.time / MICRO), MICRO
        return small

    def to_gray(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        """Of this size in pixels."""
        gray = {"format": "gray", "interpolation": "AREA", "dst_color_range": "JPEG", "threads": 1}
        matrix = {} if frame.format.is_rgb else {"src_colorspace": PLAIN, "dst_colorspace": PLAIN}
        return self._reformatter.reformat(frame, width, height, **gray, **matrix)  # type: ignore[no-any-return]


class Signals:
    """Looks at pictures in their order. `events` are complete after `close`; what is in them will not change.

    A freeze becomes an event when it is known that none follows that is one with it. One that is black is left out.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._shrinker = Shrinker()
        self._errors = extras.load("av.error")
        self._graph: Graph | None = None
        self._seen = 0
        self._open: dict[str, float] = {}  # what has begun, and when
        self._time = 0.0  # of the picture before
        self._freeze: Event | None = None  # has ended, and waits for one that touches it
        self._cuts: list[float] = []  # the last, and others since that freeze
        self._black = 0.0, 0.0  # the last

    def push(self, picture: Picture) -> list[float]:
        """Times of cuts, and of freezes that end, which this picture tells of. Raises ImageError."""
        small = self._shrinker.shrink(picture)
        if self._graph is None:
            self._graph = build_graph(small, *FILTERS)
        self._graph.vpush(small)
        told = self._pull()
        self._time = picture.time
        last = self._freeze.end if self._freeze else self._time
        if self._time - last > TOUCHING + FREEZE + SLACK and self._open.get("freeze", self._time) - last > TOUCHING:
            self._give()
        return told

    def frozen(self, until: float) -> float:
        """Seconds of freezes that are no events yet, up to a time."""
        start = self._open.get("freeze", until)
        waits = self._freeze.end - self._freeze.start if self._freeze else 0.0
        return waits + (0.0 if self._is_black(start, until) else until - start)

    def close(self, end: float) -> None:
        """Ends what has begun at the end of what was read, in seconds."""
        if "freeze" in self._open and end - self._open["freeze"] >= FREEZE:
            self._end_freeze(self._open["freeze"], end)
        self._give()
        if "black" in self._open and end - self._open["black"] >= BLACK:
            self._end_black(self._open["black"], end)
        self._open.clear()
        self.events.sort()

    def _pull(self) -> list[float]:
        told: list[float] = []
        assert self._graph is not None
        while True:
            try:
                seen = self._graph.vpull()
            except (self._errors.BlockingIOError, self._errors.EOFError):
                return told
            self._seen += 1
            told += self._read(seen.metadata)

    def _read(self, found: dict[str, str]) -> list[float]:
        told = []
        if "lavfi.scd.time" in found and self._seen > 2:  # all pictures differ from the none before the first
            time = float(found["lavfi.scd.time"])
            self.events.append(Event(time, time, "scene", f"{float(found['lavfi.scd.score']):.0f} % of the picture"))
            self._cuts = [*(each for each in self._cuts if self._freeze and each >= self._freeze.end), time]
            told.append(time)
        if "lavfi.freezedetect.freeze_start" in found:
            self._open["freeze"] = float(found["lavfi.freezedetect.freeze_start"])
        if "lavfi.freezedetect.freeze_end" in found and "freeze" in self._open:
            start, end = self._open.pop("freeze"), float(found["lavfi.freezedetect.freeze_end"])
            if start < self._time - SLACK:  # FFmpeg takes a single long step for one: see Cadence
                self._end_freeze(start, end)
                told.append(end)
        if "lavfi.black_start" in found:
            self._open["black"] = float(found["lavfi.black_start"])
        if "lavfi.black_end" in found and "black" in self._open:
            self._end_black(self._open.pop("black"), float(found["lavfi.black_end"]))
        return told

    def _end_freeze(self, start: float, end: float) -> None:
        if self._is_black(start, end):
            return
        freeze = Event(start, end, "freeze", f"the same picture for {end - start:.2f} s")
        both = join(self._freeze, freeze, self._cuts) if self._freeze else None
        if not both:
            self._give()
        self._freeze = both or freeze

    def _give(self) -> None:
        """Makes the freeze that waits an event."""
        if self._freeze:
            self.events.append(self._freeze)
        self._freeze = None

    def _end_black(self, start: float, end: float) -> None:
        self._black = start, end
        self.events.append(Event(start, end, "black", f"no light for {end - start:.2f} s"))

    def _is_black(self, start: float, end: float) -> bool:
        """Whether more than half of a freeze that ends now is in the last black, or in that which goes on."""
        blacks = [self._black, (self._open.get("black", end), end)]
        return any(min(end, until) - max(start, since) > (end - start) / 2 for since, until in blacks)
