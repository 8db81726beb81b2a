"""What scores are compared with: the bundle's reference photos, or rows of an earlier run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from declip_rt.disk import read_csv, read_text
from declip_rt.errors import ConfigError
from declip_rt.extras import load
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import Calibration, Head
from declip_rt.output.target import ROWS
from declip_rt.video.timeline import Percentiles

FEWEST = 20  # rows that percentiles are made of


@dataclass(frozen=True)
class Reference:
    """Percentiles of heads, and the heads themselves.

    percentiles: head -> its scores at the percentiles 0, 1, ..., 100; a head that is not known has none.
    """

    heads: Sequence[Head]
    percentiles: Percentiles

    @staticmethod
    def of(bundle: Bundle) -> Reference:
        """The bundle's reference photos."""
        calibration = bundle.manifest.calibration
        return Reference(bundle.heads, calibration.percentiles if calibration else {})

    @staticmethod
    def read(file: Path, bundle: Bundle) -> Reference:
        """Rows that `declip-rt score` or `declip-rt video` wrote: .csv, .jsonl or .parquet. Raises ConfigError."""
        names = [head.name for head in bundle.heads]
        found: dict[str, list[float]] = {name: [] for name in names}
        for row in _rows(file):
            values = [_number(row.get(name)) for name in names]
            if not any(map(math.isnan, values)):
                for name, value in zip(names, values, strict=True):
                    found[name].append(value)
        if len(found["technical"]) < FEWEST:
            raise ConfigError(
                f"--reference {file} has {len(found['technical'])} rows with {', '.join(names)}; "
                f"give one of at least {FEWEST}, as --out wrote it with this model"
            )
        return Reference(bundle.heads, {name: Calibration.marks(values) for name, values in found.items()})

    @property
    def names(self) -> list[str]:
        """The heads, technical and aesthetic first."""
        return sorted((head.name for head in self.heads), key=("aesthetic", "technical").__contains__, reverse=True)

    def percentile(self, head: str, score: float) -> float | None:
        """The share, in percent, of the reference that scores lower; None where the head is not known."""
        if head not in self.percentiles:
            return None
        return float(np.interp(score, self.percentiles[head], np.arange(101.0)))


def _rows(file: Path) -> Iterator[Mapping[str, Any]]:
    suffix = file.suffix.lower()
    if suffix not in ROWS:
        raise ConfigError(f"--reference {file}: the suffix must be {', '.join(ROWS[:-1])} or {ROWS[-1]}")
    try:
        yield from _of_parquet(file) if suffix == ".parquet" else _of_text(file, suffix)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read --reference {file}: {getattr(error, 'strerror', None) or error}") from error


def _of_text(file: Path, suffix: str) -> Iterable[Mapping[str, Any]]:
    if suffix == ".csv":
        return read_csv(file)
    rows = (json.loads(line) for line in read_text(file).splitlines() if line.strip())
    return (row for row in rows if isinstance(row, dict))


def _of_parquet(file: Path) -> Iterable[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = load("pyarrow.parquet").read_table(file).to_pylist()
    return rows


def _number(value: object) -> float:
    """Not a number where it is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
