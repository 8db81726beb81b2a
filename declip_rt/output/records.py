"""A record: one scored (or failed) file as a flat row, the same in every output format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from declip_rt.errors import ConfigError
from declip_rt.images.load import Facts
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import Head
from declip_rt.prompts import Prompts, digest
from declip_rt.score import Score

Record: TypeAlias = dict[str, Any]  # column: value, or None

STRIKING = 10.0  # an attribute is a finding in the lowest or highest 10 % of the reference photos
BOUND = 0.2  # and, where the bundle has no reference, within 0.2 of the end of its range


class Found(NamedTuple):
    """An attribute that is unlike the reference photos'."""

    word: str
    tone: Literal["good", "bad", "neither"]


class Ranks(Protocol):
    """What knows a model's heads, and where a score is among those of others: a Bundle does."""

    @property
    def heads(self) -> Sequence[Head]: ...

    def percentile(self, head: str, score: float) -> float | None: ...


@dataclass(frozen=True)
class Columns:
    """The columns of the records of one run, in order, with their types."""

    types: Mapping[str, type]
    scores: tuple[str, ...] = ()  # those that every scored image has
    run: Mapping[str, str] = field(default_factory=dict)  # those that say how it scores: the same in every record

    @staticmethod
    def of(
        bundle: Bundle,
        prompts: Sequence[Prompts] = (),
        *,
        precision: str = "fp32",
        decode_scale: str = "full",
        icc: bool = True,
    ) -> Columns:
        """Raises ConfigError where prompts have the name of another column."""
        heads = [head.name for head in bundle.heads]
        ordered = ["technical", "aesthetic", *(name for name in heads if name not in ("technical", "aesthetic"))]
        front = {"path": str, "width": int, "height": int} | dict.fromkeys(ordered, float)
        calibrated = {"percentile": float} | dict.fromkeys(mos_columns(bundle), float)
        run = run_of(bundle, precision, decode_scale=decode_scale)
        if not icc:
            run["icc"] = "ignored"
        if prompts:
            run["prompts_hash"] = digest(prompts)
        told = {"findings": str, "error": str, "damaged": str, "preview": str}
        back = calibrated | told | dict.fromkeys(run, str) | {"size": int, "mtime_ns": int}
        own = dict.fromkeys((p.name for p in prompts), float)
        if taken := own.keys() & (front | back).keys():
            raise ConfigError(f"prompts cannot be called {min(taken)!r}, as a column is; give them another name")
        return Columns(front | own | back, (*ordered, *own), run)

    def is_whole(self, record: Record) -> bool:
        """Whether a record without an error has what every scored image has, and numbers where it has some."""
        needed = ("width", "height", *self.scores)
        numbers = [record[name] for name, kind in self.types.items() if kind is float and record[name] is not None]
        return all(record[name] is not None for name in needed) and all(map(isfinite, numbers))

    def record(self, /, **values: Any) -> Record:
        """A record with None where no value is given."""
        return {name: values.get(name, self.run.get(name)) for name in self.types}


def run_of(bundle: Bundle, precision: str, **others: str) -> dict[str, str]:
    """The columns that say how a run computes, and their values."""
    return {"model": bundle.name, "bundle": bundle.hash, "precision": precision, **others}


def mos_columns(bundle: Bundle) -> dict[str, str]:
    """The columns of the MOS that the bundle's heads are mapped to: name -> head."""
    return {f"{head}_mos": head for head in bundle.mos}


def key(path: str) -> str:
    """The path as every format can hold it: bytes that are no UTF-8 are escaped as \\xNN."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def scored(columns: Columns, path: str, facts: Facts, score: Score, bundle: Bundle) -> Record:
    told = score.flat() | {"damaged": score.damaged or None, "preview": score.preview or None}
    record = columns.record(path=path, **told, size=facts.size, mtime_ns=facts.mtime_ns)
    return record | {"findings": ", ".join(found.word for found in findings(record, bundle)) or None}


def failed(columns: Columns, path: str, reason: str) -> Record:
    return columns.record(path=path, error=reason)


def findings(record: Record, ranks: Ranks, most: int = 2) -> list[Found]:
    """The attributes that are most unlike the reference photos', strongest first."""
    striking: list[tuple[float, Found]] = []
    for head in ranks.heads:
        value = record[head.name]
        if head.kind != "attribute" or value is None:
            continue
        rank = ranks.percentile(head.name, value)
        near, far = (rank, STRIKING) if rank is not None else (100 * value, 100 * BOUND)
        if near <= far or near >= 100 - far:
            striking.append((abs(near - 50), _found(head, near < 50)))
    striking.sort(key=lambda entry: -entry[0])
    return [found for _, found in striking[:most]]


def _found(head: Head, low: bool) -> Found:
    word = head.low if low else head.high
    if head.better is None:
        return Found(word, "neither")
    return Found(word, "good" if (head.better == "low") == low else "bad")
