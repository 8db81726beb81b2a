"""Cuts, freezes and black, in all pictures that are decoded: what scores of single pictures cannot see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from declip_rt import extras
from declip_rt.video.events import TOUCHING, Event, join
from declip_rt.video.pixels import build_graph
from declip_rt.video.sampling import SLACK, Picture
from declip_rt.video.shrinker import Shrinker

if TYPE_CHECKING:
    from av.filter.graph import Graph
    from av.video.frame import VideoFrame

CUT = 10  # percent: the score of FFmpeg's scdet
COARSE = 4  # times smaller are the pictures that tell a change of the light from a cut
SAME = 0.9  # correlation of those: no two of 719,400 pairs of unrelated photos had more than 0.86
FREEZE, BLACK = 0.5, 0.1  # seconds, at least
FILTERS = (("scdet", f"t={CUT}"), ("freezedetect", f"n=-60dB:d={FREEZE}"), ("blackdetect", f"d={BLACK}"))


class Signals:
    """Looks at pictures in their order. `events` are complete after `close`; what is in them will not change.

    Where the light alone changes, that is no cut. A freeze becomes an event when it is known that none follows that is
    one with it. One that is black is left out.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._shrinker = Shrinker()
        self._errors = extras.load("av.error")
        self._graph: Graph | None = None
        self._last: VideoFrame | None = None  # that came through it
        self._seen = 0
        self._open: dict[str, float] = {}  # what has begun, and when
        self._time = 0.0  # of the picture before
        self._freeze: Event | None = None  # has ended, and waits for one that touches it
        self._cuts: list[float] = []  # the last, and others since that freeze
        self._black = 0.0, 0.0  # the last

    def push(self, picture: Picture) -> list[float]:
        """Times at which all changes, and at which freezes end, which this picture tells of. Raises ImageError."""
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
            told += self._read(seen)
            self._last = seen

    def _read(self, seen: VideoFrame) -> list[float]:
        told, found = [], seen.metadata
        if "lavfi.scd.time" in found and self._seen > 2:  # all pictures differ from the none before the first
            time = float(found["lavfi.scd.time"])
            told.append(time)
            if not _shows_the_same(self._last, seen):
                detail = f"{float(found['lavfi.scd.score']):.0f} % of the picture"
                self.events.append(Event(time, time, "scene", detail))
                self._cuts = [*(each for each in self._cuts if self._freeze and each >= self._freeze.end), time]
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


def _shows_the_same(before: VideoFrame | None, after: VideoFrame) -> bool:
    """Whether two small pictures differ by their light alone."""
    if before is None:
        return False
    first, second = (_coarse(each) for each in (before, after))
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return bool((first * second).sum() > SAME * scale)  # never of one without any detail


def _coarse(small: VideoFrame) -> NDArray[np.float32]:
    """COARSE times smaller, about its mean."""
    levels = np.asarray(small.to_ndarray(), np.uint8)
    height, width = (side // COARSE for side in levels.shape)
    squares = levels[: height * COARSE, : width * COARSE].reshape(height, COARSE, width, COARSE)
    means: NDArray[np.float32] = squares.mean(axis=(1, 3), dtype=np.float32)
    return means - np.float32(means.mean())
