"""What a run over videos leaves: a row a sample, a row an event and a row a file, the same in every format."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from declip_rt.output.records import Columns, Record, findings
from declip_rt.video.facts import Facts
from declip_rt.video.reference import Reference
from declip_rt.video.scorer import VideoScore
from declip_rt.video.timeline import Pooled

EVENTS = Columns({"path": str, "start": float, "end": float, "kind": str, "detail": str})
KINDS = {"str": str, "int": int, "float": float, "bool": bool}
PLACES = 6  # of seconds


def timeline_columns(reference: Reference) -> Columns:
    """A row a sample."""
    scores = dict.fromkeys(reference.names, float)
    return Columns({"path": str, "time": float} | scores | {"percentile": float, "findings": str, "flags": str})


def summary_columns(run: dict[str, str]) -> Columns:
    """A row a file. run: what says how it was scored, the same in every row."""
    pooled = {field.name: float for field in fields(Pooled)}
    facts = {field.name: KINDS[str(field.type)] for field in fields(Facts)}
    front = {"path": str, "duration": float, "samples": int} | pooled | facts | {"error": str}
    return Columns(front | dict.fromkeys(run, str) | {"size": int, "mtime_ns": int}, tuple(pooled), run)


def timeline(path: str, score: VideoScore, columns: Columns, reference: Reference) -> Iterator[Record]:
    """The samples of a file."""
    for i, time in enumerate(score.times):
        heads = {name: float(values[i]) for name, values in score.heads.items()}
        rank = None if score.percentiles is None else float(score.percentiles[i])
        row = columns.record(path=path, time=round(float(time), PLACES), **heads, percentile=rank)
        found = ", ".join(each.word for each in findings(row, reference))
        yield row | {"findings": found or None, "flags": ", ".join(score.flags[i]) or None}


def events(path: str, score: VideoScore) -> Iterator[Record]:
    """The events of a file."""
    for event in score.events:
        told = asdict(event) | {"start": round(event.start, PLACES), "end": round(event.end, PLACES)}
        yield EVENTS.record(path=path, **told)


def file_facts(path: str) -> dict[str, int]:
    """What says that a file is as it was; nothing of what is no file. To be taken before it is read."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return {}
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def summary(path: str, score: VideoScore, columns: Columns, file: Mapping[str, int]) -> Record:
    """The file itself; the pooled figures are those of the technical score. file: see `file_facts`."""
    told: dict[str, Any] = asdict(score.pooled["technical"]) | asdict(score.facts) | dict(file)
    return columns.record(path=path, duration=round(score.duration, PLACES), samples=len(score.times), **told)
