"""Which of a video's pictures are scored."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

SLACK = 0.001  # seconds: Matroska rounds timestamps to milliseconds
COARSE, FINE = 1.0, 0.25  # seconds between samples of "auto", the latter around what happens
AROUND = 0.5  # seconds before and after


@dataclass(frozen=True)
class Picture:
    """A decoded frame. time: seconds from the first. until: when it is meant to end. flags: what is wrong with it."""

    frame: VideoFrame
    time: float
    until: float
    flags: tuple[str, ...] = ()


class All:
    """Takes every picture from the start."""

    def __init__(self, start: float = 0.0) -> None:
        self.start = start

    def push(self, picture: Picture) -> list[Picture]:
        return [picture] if picture.until > self.start else []

    def flush(self, end: float) -> list[Picture]:
        return []


class Grid:
    """Takes the pictures that stand at start, start + step, and so on, each once: by timestamps, not by counting."""

    def __init__(self, step: float, start: float = 0.0) -> None:
        self.step, self.start = step, start
        self.due = start
        self._shown: Picture | None = None

    def push(self, picture: Picture) -> list[Picture]:
        """The picture before, where one is due until this one comes."""
        taken = self._take(picture.time - SLACK)
        self._shown = picture
        return taken

    def flush(self, end: float) -> list[Picture]:
        """The last picture, where one is due until the end in seconds."""
        return self._take(end - SLACK)

    def _take(self, before: float) -> list[Picture]:
        if self._shown is None or self.due >= before:
            return []
        self.due = self.start + self.step * math.ceil((before - self.start) / self.step)
        return [self._shown]


class Auto:
    """Takes a picture each second, and four in the seconds around what happens.

    It keeps the few that may still be wanted, and gives all others back after AROUND.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._grid = Grid(FINE, start)
        self._start = start
        self._kept: deque[tuple[Picture, bool]] = deque()
        self._next, self._fine_until = start, -math.inf

    def push(self, picture: Picture) -> list[Picture]:
        for each in self._grid.push(picture):
            self._keep(each)
        return self._give(picture.time - AROUND)

    def mark(self, time: float) -> None:
        """Something happens at this time."""
        self._fine_until = time + AROUND
        self._kept = deque((each, wanted or each.time >= time - AROUND) for each, wanted in self._kept)

    def flush(self, end: float) -> list[Picture]:
        for each in self._grid.flush(end):
            self._keep(each)
        return self._give(math.inf)

    def _keep(self, picture: Picture) -> None:
        coarse = self._grid.due > self._next  # it stands there, however short it was meant to be
        if coarse:
            reached = max(picture.time, self._next)
            self._next = self._start + COARSE * (math.floor((reached + SLACK - self._start) / COARSE) + 1)
        self._kept.append((picture, coarse or picture.time <= self._fine_until))

    def _give(self, before: float) -> list[Picture]:
        given = []
        while self._kept and self._kept[0][0].time < before:
            picture, wanted = self._kept.popleft()
            if wanted:
                given.append(picture)
        return given
