"""The resampler's benchmark compares what gives the same bytes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import resampler


def test_the_command_writes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampler, "SIZES", ((301, 260),))
    monkeypatch.setattr(resampler, "REPEATS", 2)
    monkeypatch.setattr("sys.argv", ["resampler", "--out", str(tmp_path / "r.md")])
    assert resampler.main() == 0
    row = (tmp_path / "r.md").read_text().splitlines()[-1]
    assert re.fullmatch(r"\| 301x260 \| [\d.]+ \| [\d.]+ \| \*\*[\d.]+x\*\* \| \d+% \|", row)
