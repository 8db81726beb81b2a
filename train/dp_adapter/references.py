"""References: photos, or their features as `declip-rt embed` wrote them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from declip_rt import Scorer, extras
from declip_rt.errors import ConfigError, ImageError
from declip_rt.images.decode import decode
from train.dp_adapter.card import Card, Declip

SUFFIXES = (".npz", ".parquet")


@dataclass(frozen=True)
class Reference:
    """What a picture is to follow.

    feature: float32 (D,), as the bundle gives it. picture: RGB uint8 (H, W, 3); None where there is none to show.
    """

    path: str
    feature: NDArray[np.float32]
    picture: NDArray[np.uint8] | None


def read(sources: Mapping[str, str], card: Card, model: str | None = None) -> dict[str, Reference]:
    """References by the adapter that reads them, `perceptual` or `semantic`.

    sources: by adapter, a photo, or a row of a file of features as FILE#PATH, or FILE where it has one row.
    model: the bundle for photos, as `Scorer` takes it.

    Raises ConfigError where features are not of the adapter's bundle or are not there, and what `Scorer` raises.
    """
    photos = {name: source for name, source in sources.items() if _file_of(source) is None}
    found = {name: _row(*_file_of(source), name, card) for name, source in sources.items() if name not in photos}
    if photos:
        with Scorer(model, "cpu", precision="fp32") as scorer:
            card.check_declip(Declip.of(scorer.bundle))
            for name, source in photos.items():
                found[name] = Reference(source, getattr(scorer.embed(source), name), _picture(source))
    return found


def _file_of(source: str) -> tuple[Path, str] | None:
    """The file of features and the path of the row, which may be empty; None for a photo."""
    if Path(source).suffix.lower() in SUFFIXES:
        return Path(source), ""
    file, _, path = source.partition("#")
    return (Path(file), path) if Path(file).suffix.lower() in SUFFIXES else None


def _row(file: Path, path: str, name: str, card: Card) -> Reference:
    try:
        table = (_npz if file.suffix.lower() == ".npz" else _parquet)(file, name)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(f"cannot read features from {file}: {error}; write it by declip-rt embed") from error
    card.check_declip(table.declip)
    rows = [row for row, each in enumerate(table.paths) if path in ("", each)]
    if len(rows) != 1:
        known = ", ".join(table.paths[:3]) + (", …" if len(table.paths) > 3 else "")
        asked = f"rows of {path}" if path else "rows"
        raise ConfigError(f"{file} has {len(rows)} {asked}; name one as {file}#PATH, such as {known}")
    row = rows[0]
    feature = np.asarray(table.feature(row), np.float32)
    if not np.isfinite(feature).all():
        raise ConfigError(f"{file} has no feature of {table.paths[row]}: {table.errors[row]}; take another photo")
    return Reference(table.paths[row], feature, _picture(table.paths[row]))


@dataclass(frozen=True)
class _Table:
    """A file of features. `feature` gives a row's, which is NaN or None where there is an error."""

    declip: Declip
    paths: list[str]
    errors: list[str | None]
    feature: Callable[[int], Any]


def _npz(file: Path, name: str) -> _Table:
    with np.load(file, allow_pickle=False) as arrays:
        features = arrays[name]
        declip = Declip(str(arrays["model"]), str(arrays["bundle"]), features.shape[1])
        return _Table(declip, arrays["path"].tolist(), arrays["error"].tolist(), features.__getitem__)


def _parquet(file: Path, name: str) -> _Table:
    table = extras.load("pyarrow.parquet").read_table(file, columns=["path", "error", name])
    facts = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    declip = Declip(facts["model"], facts["bundle"], table.schema.field(name).type.list_size)
    paths, errors = (table[key].to_pylist() for key in ("path", "error"))
    return _Table(declip, paths, errors, lambda row: table[name][row].as_py() or np.nan)


def _picture(path: str) -> NDArray[np.uint8] | None:
    try:
        return decode(Path(path).read_bytes())
    except (OSError, ImageError):
        return None
