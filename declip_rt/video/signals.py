"""Cuts, freezes and black, in all pictures that are decoded: what scores of single pictures cannot see."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from declip_rt import extras
from declip_rt.video.events import Event
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
    """Looks at pictures in their order. `events` are complete after `close`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._shrinker = Shrinker()
        self._errors = extras.load("av.error")
        self._graph: Graph | None = None
        self._seen = 0
        self._open: dict[str, float] = {}  # what has begun, and when
        self._time = 0.0  # of the picture before

    def push(self, picture: Picture) -> list[float]:
        """Times of cuts, and of freezes that end, which this picture tells of. Raises ImageError."""
        small = self._shrinker.shrink(picture)
        if self._graph is None:
            self._graph = build_graph(small, *FILTERS)
        self._graph.vpush(small)
        told = self._pull()
        self._time = picture.time
        return told

    @property
    def frozen_since(self) -> float | None:
        """Where the freeze that goes on began, in seconds."""
        return self._open.get("freeze")

    def close(self, end: float) -> None:
        """Ends what has begun at the end of what was read, in seconds."""
        for kind, start in self._open.items():
            if end - start >= (FREEZE if kind == "freeze" else BLACK):
                self._add(kind, start, end)
        self._open.clear()
        dark = [each for each in self.events if each.kind == "black"]
        self.events = sorted(each for each in self.events if each.kind != "freeze" or not _within(each, dark))

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
            told.append(time)
        if "lavfi.freezedetect.freeze_start" in found:
            self._open["freeze"] = float(found["lavfi.freezedetect.freeze_start"])
        if "lavfi.freezedetect.freeze_end" in found and "freeze" in self._open:
            start, end = self._open.pop("freeze"), float(found["lavfi.freezedetect.freeze_end"])
            if start < self._time - SLACK:  # FFmpeg takes a single long step for one: see Cadence
                self._add("freeze", start, end)
                told.append(end)
        if "lavfi.black_start" in found:
            self._open["black"] = float(found["lavfi.black_start"])
        if "lavfi.black_end" in found and "black" in self._open:
            self._add("black", self._open.pop("black"), float(found["lavfi.black_end"]))
        return told

    def _add(self, kind: str, start: float, end: float) -> None:
        what = "the same picture" if kind == "freeze" else "no light"
        self.events.append(Event(start, end, kind, f"{what} for {end - start:.2f} s"))


def _within(event: Event, others: list[Event]) -> bool:
    """Whether more than half of an event is in one of the others."""
    shared = (min(event.end, each.end) - max(event.start, each.start) for each in others)
    return any(each > (event.end - event.start) / 2 for each in shared)
