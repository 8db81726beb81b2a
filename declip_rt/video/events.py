"""What happens in a video, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

KINDS = ("low", "freeze", "black", "scene", "corrupt", "truncated", "discontinuity", "resize")
TOUCHING = 0.1  # seconds between freezes that are one: a key frame in a freeze differs from what was before it
NEAR = 0.5  # seconds between damages that are one


@dataclass(frozen=True, order=True)
class Event:
    """Seconds from the first picture, one of KINDS, and what is to be said of it. A moment ends when it starts."""

    start: float
    end: float
    kind: str
    detail: str


def join_freezes(events: list[Event]) -> list[Event]:
    """The same events, but freezes that follow one another without a cut between are one."""
    cuts = [each.start for each in events if each.kind == "scene"]
    made = [each for each in events if each.kind != "freeze"]
    joined: list[Event] = []
    for each in sorted(each for each in events if each.kind == "freeze"):
        if joined and (both := join(joined[-1], each, cuts)):
            joined[-1] = both
        else:
            joined.append(each)
    return made + joined


def join(last: Event, each: Event, cuts: Sequence[float]) -> Event | None:
    """Two freezes as one, where they touch and no cut is between."""
    if each.start - last.end > TOUCHING or any(last.end <= cut <= each.start for cut in cuts):
        return None
    end = max(last.end, each.end)
    what = last.detail.partition(" for ")[0]
    return Event(last.start, end, "freeze", f"{what} for {end - last.start:.2f} s")


class Damages:
    """Packets and pictures that are damaged. Those that are near each other are one event."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float, dict[str, int]]] = []

    def add(self, start: float, end: float, what: str) -> None:
        """Counts one, such as a "packet"."""
        if self._spans and start <= self._spans[-1][1] + NEAR:
            before, until, counts = self._spans[-1]
            counts[what] = counts.get(what, 0) + 1
            self._spans[-1] = (min(before, start), max(until, end), counts)
        else:
            self._spans.append((start, end, {what: 1}))

    def events(self) -> list[Event]:
        """What was added until now, as events."""
        return [
            Event(start, end, "corrupt", ", ".join(_counted(count, what) for what, count in counts.items()))
            for start, end, counts in self._spans
        ]


def _counted(count: int, what: str) -> str:
    noun, _, rest = what.partition(" ")
    return f"{count} {noun}{'s' * (count > 1)} {rest}"
