"""`declip-rt calibrate`: a copy of a bundle that knows what its scores mean to the raters of a dataset."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from declip_rt import agreement
from declip_rt.agreement import Array, Logistic
from declip_rt.bundle import Bundle, Calibration, MosMap
from declip_rt.errors import ConfigError
from declip_rt.evaluation import Evaluation, Scored

LEAST = 10  # photos
FOLDS = 5
KNOTS = 101


@dataclass(frozen=True)
class Recalibration:
    """The options of `declip-rt calibrate`: those of `declip-rt eval` and its own."""

    evaluation: Evaluation
    out: Path
    percentiles: bool = False

    def run(self) -> int:
        """Writes the new bundle, and returns the exit code: 0 all well, 1 a photo failed. Raises DeclipError."""
        _check(self.out)
        asked = self.evaluation
        scored = asked.score()
        found = fit(scored.heads[asked.head], scored.mos, dataset=asked.target, falling=asked.lower_is_better)
        write(scored.bundle, self._calibration(scored, found), self.out)
        asked.show(scored, found.agreement, f"{asked.head}_mos against {asked.target}, cross-validated")
        print(f"wrote {self.out}")
        return 1 if scored.failed else 0

    def _calibration(self, scored: Scored, found: MosMap) -> Calibration:
        """The bundle's own, with the new map and, where asked for, new percentiles."""
        calibration = scored.bundle.manifest.calibration or Calibration()
        replace = msgspec.structs.replace
        calibration = replace(calibration, mos=calibration.mos | {self.evaluation.head: found})
        if not self.percentiles:
            return calibration
        reference = f"{len(scored.mos)} photos of {self.evaluation.name}"
        percentiles = {name: Calibration.marks(scores) for name, scores in scored.heads.items()}
        return replace(calibration, reference=reference, percentiles=percentiles)


def fit(scores: Array, mos: Array, *, dataset: str, falling: bool = False) -> MosMap:
    """The map from a head's `scores` (n,) to the `mos` (n,) of n photos.

    It is the logistic fit (`agreement.Logistic`), so it is monotone whatever the photos, sampled between their lowest
    and highest score; beyond these nothing was seen, and it stays flat. `falling`: the MOS falls as the score rises.

    Its agreement is that of predictions for photos that were not fit to: five maps, each fit without a fifth.

    Raises ConfigError: fewer than 10 photos, a map that falls where it should rise or the other way round, or what
    `agreement.measure` raises.
    """
    if len(scores) < LEAST:
        raise ConfigError(f"calibrating needs at least {LEAST} rated photos, not {len(scores)}")
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


def _check(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"--out {out} exists already; name a new folder")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"cannot write {out}: its folder does not exist")


def _knots(scores: Array, mos: Array) -> tuple[Array, Array]:
    """Scores that rise and their MOS, each (101,)."""
    knots = np.linspace(scores.min(), scores.max(), KNOTS)
    return knots, Logistic.fit(scores, mos)(knots)
