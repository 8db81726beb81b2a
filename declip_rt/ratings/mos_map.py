"""Fits and cross-validates a map from a head's scores to MOS, and writes it into a copy of the bundle."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from declip_rt.errors import ConfigError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import Calibration, MosMap
from declip_rt.ratings import agreement
from declip_rt.ratings.agreement import Array, Logistic

MIN_PHOTOS = 10
FOLDS = 5
KNOTS = 101


def fit(scores: Array, mos: Array, *, dataset: str, falling: bool = False) -> MosMap:
    """The map from a head's `scores` (n,) to the `mos` (n,) of n photos.

    The map is the logistic fit (`agreement.Logistic`), so it is monotone whatever the photos. It is sampled between
    their lowest and highest score. Beyond these no photo was seen, and the map is flat. `falling`: the MOS falls as the
    score rises.

    Its agreement is cross-validated: five maps are each fit without a fifth of the photos, and predict that fifth.

    Raises ConfigError: fewer than 10 photos, a map that falls where it should rise or the other way round, or what
    `agreement.measure` raises.
    """
    if len(scores) < MIN_PHOTOS:
        raise ConfigError(f"calibrating needs at least {MIN_PHOTOS} rated photos, not {len(scores)}")
    knots, values = _knots(scores, mos)
    rise = values[-1] - values[0]
    if rise == 0:
        raise ConfigError("the score says nothing of this MOS: it is the same for all photos; choose another --head")
    whole = agreement.measure(scores, mos).srcc
    if whole.low <= 0 <= whole.high:
        raise ConfigError(f"the score says nothing of this MOS: SRCC {whole}; choose another --head, or more photos")
    if (rise < 0) != falling:
        way, remedy = ("rises", "leave out") if falling else ("falls", "if that is right, as with DMOS, add")
        raise ConfigError(f"the MOS {way} as the score rises; {remedy} --lower-is-better")
    values = (np.minimum if falling else np.maximum).accumulate(values)  # tanh may be off by its last bit
    predicted = np.empty(len(scores))
    folds = np.array_split(np.random.default_rng(0).permutation(len(scores)), FOLDS)
    for held in folds:
        predicted[held] = np.interp(scores[held], *_knots(np.delete(scores, held), np.delete(mos, held)))
    measured = agreement.measure(predicted, mos, fitted=False)
    return MosMap(dataset, tuple(knots.tolist()), tuple(values.tolist()), measured)


def write(bundle: Bundle, calibration: Calibration, out: Path) -> None:
    """Writes a copy of the bundle with another calibration, in one step. Raises ConfigError."""
    manifest = msgspec.structs.replace(bundle.manifest, calibration=calibration)
    try:
        with TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}-") as temporary:
            folder = Path(temporary) / "bundle"
            folder.mkdir()
            for file in bundle.path.iterdir():
                if file.is_file():
                    shutil.copyfile(file, folder / file.name)
            manifest.write(folder)
            folder.replace(out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}") from error


def _knots(scores: Array, mos: Array) -> tuple[Array, Array]:
    """Rising scores and their MOS by the fit, each (101,)."""
    knots = np.linspace(scores.min(), scores.max(), KNOTS)
    return knots, Logistic.fit(scores, mos)(knots)
