"""Files of strangers, damaged anywhere, for as long as a test run allows."""

from __future__ import annotations

import os
import random

import pytest

from tests.fuzz import MEMORY, TARGETS, damage, fuzz

SECONDS = float(os.environ.get("FUZZ_SECONDS", "20"))  # a target


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore")  # Pillow's, on odd tags
def test_each_is_read_or_refused_by_an_error_of_ours(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR")
    found = fuzz(name, SECONDS, seed=0)
    assert found.refused > 0.1 * found.inputs > 1, "damage that nobody minds tests nothing"
    assert found.peak < 1.5 * MEMORY / 1e6


def test_damage_changes_files_in_all_ways() -> None:
    rng, data = random.Random(0), bytes(range(200))
    made = [damage(data, rng) for _ in range(100)]
    assert sum(some != data for some in made) > 90
    assert min(map(len, made)) < len(data) < max(map(len, made))
