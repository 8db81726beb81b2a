"""An HTML page of a run over videos: timelines, the worst moments, figures. It needs no network and no server."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from declip_rt.disk import write_whole
from declip_rt.errors import DeclipError
from declip_rt.output.html import environment, link
from declip_rt.output.records import Record
from declip_rt.output.terminal import printable
from declip_rt.video.facts import Facts
from declip_rt.video.reader import Reader
from declip_rt.video.reference import Reference
from declip_rt.video.table import minutes
from declip_rt.video.timeline import pool

SIDE = 640  # the longest of a moment's picture, pixels
MOMENTS = 6  # of a video
POINTS = 1500  # of a plot; of more samples the worst of each of so many parts
LISTED = 200  # events
ON_THE_WEB = re.compile("https?://", re.IGNORECASE)  # what a browser can follow
Samples = Sequence[Record]


class Page:
    """Holds the rows of each video and writes the page on `close`, in one step.

    open: opens a video for the pictures of its worst moments. facts: what is said of the run. start: seconds from
    which the videos were read; None is where their first sample is.
    """

    def __init__(
        self,
        path: Path,
        reference: Reference,
        open: Callable[[str], Reader],
        facts: dict[str, str],
        start: float | None = None,
    ) -> None:
        self._path, self._reference, self._open, self._facts, self._start = path, reference, open, facts, start
        self._videos: list[tuple[Record, Samples, Samples]] = []
        self._failures: list[dict[str, str]] = []

    def write(self, summary: Record, samples: Samples, events: Samples) -> None:
        if summary["error"] is None:
            self._videos.append((summary, samples, events))
        else:
            self._failures.append({key: printable(summary[key]) for key in ("path", "error")})

    def close(self) -> None:
        facts = {"scored": str(len(self._videos)), "failed": str(len(self._failures))} | self._facts
        count = len(self._videos)
        templates = environment(Path(__file__).parent)
        templates.filters["minutes"] = minutes
        page = templates.get_template("page.html").render(
            title=f"{count} video{'s' * (count != 1)} over time",
            facts=facts,
            videos=[self._video(number, *video) for number, video in enumerate(self._videos)],
            failures=self._failures,
        )
        write_whole(self._path, page.encode("utf-8", "replace"))

    def _video(self, number: int, summary: Record, samples: Samples, events: Samples) -> dict[str, Any]:
        """What the template shows of a video."""
        begin = samples[0]["time"] if self._start is None else self._start
        end = begin + summary["duration"]
        times = np.maximum([row["time"] for row in samples], begin)  # the first may stand from before
        heads = {name: np.array([row[name] for row in samples]) for name in self._reference.names}
        shown = _worst_of_parts(times, heads["technical"])
        told = [_told(event) for event in events if event["kind"] != "scene"]
        return {
            "number": number,
            "name": printable(os.path.basename(summary["path"])),
            "path": printable(summary["path"]),
            "link": summary["path"] if ON_THE_WEB.match(summary["path"]) else link(summary["path"], self._path),
            "summary": summary,
            "facts": _facts(summary),
            "begin": begin,
            "end": end,
            "pooled": {name: asdict(pool(times, values, end)) for name, values in heads.items()},
            "plots": {name: _line(times[shown], values[shown], begin, end) for name, values in heads.items()},
            "cuts": [_place(event["start"], begin, end) for event in events if event["kind"] == "scene"],
            "bands": [_band(event, begin, end) for event in events if event["kind"] != "scene"],
            "events": told[:LISTED],
            "more": len(told) - LISTED,
            "moments": list(self._moments(summary["path"], samples, events)),
            "data": {
                "times": [round(float(time), 3) for time in times[shown]],
                "heads": {name: [round(float(value), 3) for value in values[shown]] for name, values in heads.items()},
                "begin": begin,
                "end": end,
            },
        }

    def _moments(self, path: str, samples: Samples, events: Samples) -> Iterator[dict[str, Any]]:
        """The worst moment of each event that is seen, lowest first, or that of the video; with its picture."""
        found: dict[float, tuple[float, str]] = {}  # time: technical, what is said of it
        for event in events:
            if event["kind"] != "scene":
                inside = [row for row in samples if event["start"] <= row["time"] < event["end"]]
                row = min(
                    inside or samples,
                    key=lambda row: (not inside and abs(row["time"] - event["start"]), row["technical"]),
                )
                time = row["time"] if inside else event["start"]
                found.setdefault(time, (row["technical"], f"{event['kind']}: {event['detail']}"))
        if not found:
            row = min(samples, key=lambda row: row["technical"])
            found[row["time"]] = (row["technical"], "the lowest score, and no event")
        worst = sorted(found.items(), key=lambda entry: entry[1][0])[:MOMENTS]
        pictures = self._pictures(path, [time for time, _ in worst])
        for (time, (technical, what)), picture in zip(worst, pictures, strict=True):
            yield {
                "time": time,
                "at": minutes(time),
                "technical": technical,
                "what": printable(what),
                "picture": picture,
            }

    def _pictures(self, path: str, times: Sequence[float]) -> Iterator[str | None]:
        """As data URIs; None where the video can no longer be read."""
        for time in times:
            try:
                with self._open(path) as reader:
                    small = Image.fromarray(reader.at(time).rgb)
            except DeclipError:
                yield None
                continue
            small.thumbnail((SIDE, SIDE))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=80)
            yield f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _worst_of_parts(times: Any, technical: Any) -> Any:
    """The samples that are drawn."""
    parts = np.array_split(np.arange(len(times)), min(len(times), POINTS))
    return np.array([part[np.argmin(technical[part])] for part in parts])


def _place(time: float, begin: float, end: float) -> float:
    """Of a time, in thousandths of the plot's width."""
    return round(1000 * min(max((time - begin) / max(end - begin, 1e-9), 0.0), 1.0), 2)


def _line(times: Any, values: Any, begin: float, end: float) -> str:
    """The path of steps, of a plot of 1000 by 100."""
    until = [_place(float(time), begin, end) for time in (*times[1:], end)]
    steps = [f"V{100 - 100 * value:.2f}H{x}" for value, x in zip(values.tolist(), until, strict=True)]
    return f"M{_place(float(times[0]), begin, end)} {100 - 100 * values[0]:.2f}" + "".join(steps)


def _band(event: Record, begin: float, end: float) -> dict[str, Any]:
    first, last = (_place(event[side], begin, end) for side in ("start", "end"))
    return _told(event) | {"x": first, "width": max(round(last - first, 2), 2)}


def _told(event: Record) -> dict[str, Any]:
    at = minutes(event["start"]) + (f"–{minutes(event['end'])}" if event["end"] > event["start"] else "")
    return {"kind": event["kind"], "at": at, "time": event["start"], "detail": printable(event["detail"] or "")}


def _facts(summary: Record) -> dict[str, str]:
    """Of the stream, in words."""
    told = {field.name.replace("_", " "): summary[field.name] for field in fields(Facts)}
    size = f"{told.pop('width')}×{told.pop('height')}"
    first = {"duration": f"{summary['duration']:.1f} s", "samples": str(summary["samples"]), "size": size}
    return first | {name: _word(value) for name, value in told.items()}


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
