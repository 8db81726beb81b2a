"""A folder of photos that people rated."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from declip_rt.disk import read_csv
from declip_rt.errors import ConfigError


@dataclass(frozen=True)
class Rating:
    """A photo and its MOS."""

    path: Path
    mos: float


def read(file: Path, dataset: Path, image_column: str, score_column: str) -> list[Rating]:
    """The ratings in a CSV. Its images are named from its own folder, from `dataset` or from `dataset`/images.

    Raises ConfigError.
    """
    try:
        rows = read_csv(file)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    columns = rows.fieldnames or ()
    for option, column in (("--image-column", image_column), ("--score-column", score_column)):
        if column not in columns:
            raise ConfigError(f"{file} has no column {column!r} but {', '.join(columns)}; choose with {option}")
    ratings: dict[Path, Rating] = {}
    for row in rows:
        line = f"{file}, line {rows.line_num}"
        if not row[image_column]:
            raise ConfigError(f"{line}: no name in {image_column}; give every row its photo")
        path = _locate(row[image_column], (file.parent, dataset, dataset / "images"))
        if path in ratings:
            raise ConfigError(
                f"{line}: {row[image_column]!r} again; give each photo one row, with its mean opinion score"
            )
        ratings[path] = Rating(path, _parse_number(row[score_column], line))
    return list(ratings.values())


def find_ratings(dataset: Path) -> Path:
    if not dataset.is_dir():
        raise ConfigError(f"{dataset} is no folder; give the folder of the rated photos")
    found = sorted(dataset.rglob("scores.csv"))
    if len(found) != 1:
        what = f"several scores.csv: {', '.join(map(str, found))}" if found else "no scores.csv"
        raise ConfigError(f"{dataset} has {what}; name the file with the ratings with --scores")
    return found[0]


def _locate(name: str, folders: tuple[Path, ...]) -> Path:
    """The first path that exists. Where none does, the first path, so that its error says where it was sought."""
    paths = [folder / name for folder in folders]
    return next((path for path in paths if os.path.exists(path)), paths[0])


def _parse_number(text: str | None, line: str) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{line}: the score is {text!r}; give every row a finite number, or leave the row out")
    return number
