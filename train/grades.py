"""Attributes that come in grades, and what people call each grade."""

from __future__ import annotations

from dataclasses import dataclass

from train import texts
from train.i2t.manifest import Row
from train.words import CLEAN, FAULTS, MEASURED

FAINT, STRONG = 0.5, 4.0  # strengths of a distortion that nobody, and that everybody, would call by its name


@dataclass(frozen=True)
class Grades:
    """The grades of one attribute, from low to high.

    What was measured in a photo tells its grade, or where `kinds` are given the strength of those distortions.
    """

    marks: tuple[float, ...]  # the values that the grades stand for
    words: tuple[tuple[str, ...], ...]  # for each grade
    kinds: tuple[str, ...] = ()

    @property
    def phrases(self) -> tuple[tuple[str, ...], ...]:
        """The words of each grade, alone and in a sentence."""
        return tuple(
            tuple(dict.fromkeys(form for word in own for form in (texts.perceptual(word), word))) for own in self.words
        )

    def value(self, name: str, row: Row) -> float | None:
        """Where a row's image stands between the marks; None where that is not known."""
        if not self.kinds:
            measured = row.attributes.get(name)
            return measured if isinstance(measured, float) else None
        if not row.edits:
            return 0.0 if row.provenance == "synthetic" else None  # that builder takes photos without faults
        return max(edit.strength for edit in row.edits) if all(edit.kind in self.kinds for edit in row.edits) else None


def _measured(name: str, low: tuple[str, ...], high: tuple[str, ...]) -> Grades:
    """The words for what is measured; to the grades without "very" go those for faults, but what both ends share."""
    marks, levels = MEASURED[name]
    said = [level for level in levels if level]
    taken = {word for level in said for word in level}
    dull, loud = ({word for kind in kinds for word in FAULTS[kind].adjectives} - taken for kinds in (low, high))
    said[1] += tuple(sorted(dull - loud))
    said[-2] += tuple(sorted(loud - dull))
    return Grades(marks, tuple(said))


def _fault(*kinds: str) -> Grades:
    faulty = tuple(word for kind in kinds for word in FAULTS[kind].adjectives)
    return Grades((FAINT, STRONG), (CLEAN.adjectives, faulty), kinds)


GRADES = {
    "brightness": _measured("brightness", ("dark", "underexposed"), ("bright", "overexposed")),
    "colorfulness": _measured("colorfulness", ("pale",), ("garish",)),
    "contrast": _measured("contrast", ("flat",), ("harsh",)),
    "sharpness": _fault("blur", "lens_blur"),
    "noisiness": _fault("noise"),
    "compression": _fault("jpeg"),
    "depth_of_field": _fault("shallow"),
}
