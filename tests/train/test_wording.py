"""Own words are measured as they are used: each pair and each synonym by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from declip_rt import Scorer
from tests.conftest import picture
from train import content, wording
from train.content import Labelled

WORDS = content.kinds()["animal"].words
RNG = np.random.default_rng(0)


class Reader:
    """A scorer whose prompts say what `read` makes of an image, a number here."""

    def __init__(self, read) -> None:
        self.read = read

    def score_many(self, images: Iterable[object]) -> Iterator[SimpleNamespace]:
        for image in images:
            number = int(image.name) if isinstance(image, Path) else image
            yield SimpleNamespace(prompts={some.name: self.read(some.name, number) for some in wording.prompts()})


def labelled(_: Path) -> list[Labelled]:
    """40 photos: a quarter shows an animal, and of some it is not known; none is known to show food."""
    answers = [True, False, False, False] * 9 + [None] * 4
    return [
        Labelled(Path(str(i)), {"animal": answer, "building": None, "food": False, "vehicle": i % 2 == 0})
        for i, answer in enumerate(answers)
    ]


def test_the_mean_and_the_lowest_of_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "labelled", labelled)
    blind = f"animal {WORDS[2][0]}:{WORDS[2][1]}"
    reader = Reader(lambda name, i: 0.5 if name == blind else float(i % 4 == 0))
    mean, lowest, *vehicle = wording.contents(reader, Path())
    assert mean.value.value == pytest.approx(1 - 0.5 / len(WORDS))
    assert mean.n == 36, "those whose labels leave it open are left out"
    assert "9 of the photos" in mean.what
    assert lowest.value.value == 0.5
    assert f"{WORDS[2][0]}:{WORDS[2][1]}" in lowest.what
    assert len(vehicle) == 2, "nothing is said of what no photo, or an unknown one, shows"
    assert all(one.what.startswith("vehicle") for one in vehicle)


def test_the_two_synonyms_that_agree_least(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = RNG.uniform(0, 40, 100)
    monkeypatch.setattr(wording, "_pictures", lambda _: range(100))

    def read(name: str, i: int) -> float:
        return i / 100 if name != "in a sentence unsharp" else (i + noise[i]) / 200

    blurry, noisy, dark = wording.synonyms(Reader(read), Path())
    assert noisy.value.value == dark.value.value == pytest.approx(1)
    assert 0.5 < blurry.value.low < blurry.value.value < blurry.value.high < 0.99
    assert "unsharp, in a sentence" in blurry.what
    assert blurry.n == 100


def test_a_bundle_takes_all_the_prompts() -> None:
    with Scorer(prompts=wording.prompts(), device="cpu") as scorer:
        found = scorer.score(picture(0, 80, 80)).prompts
    assert len(found) == sum(len(kind.words) for kind in content.kinds().values()) + 2 * 9
    assert all(0 <= value <= 1 for value in found.values())
