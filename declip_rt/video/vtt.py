"""WebVTT: a player shows the score and what happens beside the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from declip_rt.disk import write_whole
from declip_rt.output.records import Record
from declip_rt.output.terminal import printable

HEADER = "WEBVTT - declip-rt"
MOMENT = 1.0  # seconds that an event without a length is shown


class Subtitles:
    """Writes a WebVTT file of the video that it is given.

    start: seconds from which it was read; None is where its first sample is.
    """

    def __init__(self, path: Path, start: float | None = None) -> None:
        self._path, self._start, self._text = path, start, f"{HEADER}\n"

    def write(self, summary: Record, samples: Sequence[Record], events: Sequence[Record]) -> None:
        if samples:
            first = samples[0]
            start = first["time"] if self._start is None else self._start
            held = [first | {"time": max(first["time"], start)}, *samples[1:]]  # the first may stand from before
            self._text = cues(held, events, start + summary["duration"])

    def close(self) -> None:
        write_whole(self._path, self._text.encode())


def cues(samples: Sequence[Record], events: Sequence[Record], end: float) -> str:
    """The text of a WebVTT file. samples, events: rows of one video. end: where the last sample ends, in seconds."""
    return "\n".join([HEADER, "", *(_cue(*each) for each in sorted(_spans(samples, events, end), key=itemgetter(0)))])


def is_ours(path: Path) -> bool:
    """Whether a file may be replaced: it is not there, or was written by Subtitles."""
    try:
        with path.open("rb") as file:
            return file.read(len(HEADER)) == HEADER.encode()
    except FileNotFoundError:
        return True


def _spans(samples: Sequence[Record], events: Sequence[Record], end: float) -> Iterator[tuple[float, float, str]]:
    """From when to when there is which text: players want them in the order of time."""
    for row, until in zip(samples, [*(row["time"] for row in samples[1:]), end], strict=True):
        if until > row["time"]:
            words = [f"technical {row['technical']:.2f}", row["findings"], row["flags"]]
            yield row["time"], until, " · ".join(filter(None, words))
    for event in events:
        until = max(event["end"], event["start"] + (MOMENT if event["end"] == event["start"] else 0.001))
        yield event["start"], until, f"{event['kind']}: {event['detail']}".rstrip(": ")


def _cue(start: float, end: float, text: str) -> str:
    safe = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{clock(start)} --> {clock(end)}\n{safe}\n"


def clock(seconds: float) -> str:
    """Hours, minutes, seconds and milliseconds, as WebVTT writes them."""
    milliseconds = round(1000 * max(seconds, 0))
    minutes, left = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{left // 1000:02}.{left % 1000:03}"
