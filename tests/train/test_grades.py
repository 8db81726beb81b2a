"""The grades of attributes: what tells them, and the words for them."""

from __future__ import annotations

import pytest

from train.distortions import Distortion
from train.grades import GRADES
from train.i2t.manifest import Row
from train.model import ATTRIBUTES


def row(*edits: tuple[str, float], provenance: str = "synthetic", **measured: float) -> Row:
    made = tuple(Distortion(kind, strength) for kind, strength in edits)
    return Row("a.png", provenance=provenance, attributes=dict(measured), edits=made)


def test_every_attribute_head_has_grades_of_its_own_words() -> None:
    assert list(GRADES) == list(ATTRIBUTES)
    for grades in GRADES.values():
        assert len(grades.marks) == len(grades.words) == len(grades.phrases)
        assert list(grades.marks) == sorted(grades.marks)
        said = [phrase for phrases in grades.phrases for phrase in phrases]
        assert len(set(said)) == len(said), "no phrase stands for two grades"


@pytest.mark.parametrize(
    ("name", "known", "value"),
    [
        ("brightness", row(("noise", 3.0), brightness=51.5), 51.5),
        ("brightness", row(("noise", 3.0)), None),
        ("sharpness", row(), 0.0),
        ("sharpness", row(provenance="photos of someone"), None),
        ("sharpness", row(("blur", 3.0)), 3.0),
        ("sharpness", row(("blur", 1.0), ("lens_blur", 2.5)), 2.5),
        ("sharpness", row(("blur", 3.0), ("noise", 1.0)), None),
        ("noisiness", row(("blur", 3.0)), None),
        ("noisiness", row(("noise", 4.5), provenance=""), 4.5),
    ],
)
def test_a_grade_is_told_by_pixels_or_by_strength(name: str, known: Row, value: float | None) -> None:
    assert GRADES[name].value(name, known) == value


def test_words_stand_alone_and_in_a_sentence() -> None:
    clean, blurry = GRADES["sharpness"].phrases
    assert {"sharp", "a sharp photo"} <= set(clean)
    assert {"unsharp", "an unsharp photo", "blurry", "defocused"} <= set(blurry)
