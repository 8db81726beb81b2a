"""`declip-rt calibrate`: a copy of a bundle that knows what its scores mean to the raters of a dataset."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import msgspec

from declip_rt.commands.evaluate import Evaluation, Scored, add_rating_options
from declip_rt.commands.running import parsed
from declip_rt.errors import ConfigError
from declip_rt.model.manifest import Calibration, MosMap
from declip_rt.ratings.mos_map import fit, write

DESCRIPTION = (
    "Write a copy of a model whose rows also give the MOS that the raters of your photos would give: "
    "a logistic curve from the score, with its accuracy by cross-validation."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_rating_options(parser)
    add = parser.add_argument
    add("--out", dest="new_bundle", type=Path, required=True, metavar="NEWBUNDLE", help="the folder to write")
    add("--percentiles", action="store_true", help="percentiles against these photos, not the model's reference")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    return Recalibration(parsed(options, Evaluation), options.new_bundle, options.percentiles).run()


@dataclass(frozen=True)
class Recalibration:
    """The options of `declip-rt calibrate`: those of `declip-rt eval` and its own."""

    evaluation: Evaluation
    new_bundle: Path
    percentiles: bool = False

    def run(self) -> int:
        """Writes the new bundle, and returns the exit code: 0 all well, 1 a photo failed. Raises DeclipError."""
        _check(self.new_bundle)
        asked = self.evaluation
        scored = asked.score()
        found = fit(scored.heads[asked.head], scored.mos, dataset=asked.target, falling=asked.lower_is_better)
        write(scored.bundle, self._calibration(scored, found), self.new_bundle)
        asked.show(scored, found.agreement, f"{asked.head}_mos against {asked.target}, cross-validated")
        print(f"wrote {self.new_bundle}")
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


def _check(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"--out {out} exists already; name a new folder")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"cannot write {out}: its folder does not exist")
