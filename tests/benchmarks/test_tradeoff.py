"""The table of accuracy against time tells what the bundles are, how fast they are, and what their cards say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from benchmarks import peers, tradeoff
from declip_rt import Bundle
from declip_rt.model.manifest import Card, Figure


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """The embedded bundle under another name, with another card."""
    folder = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    figures = (Figure("technical SRCC, a hold-out", 0.8123, 186, 0.7612, 0.8544), Figure("technical PLCC", 0.9, 186))
    replace(bundle.manifest, name="copy", card=Card("A copy.", figures)).write(folder)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(tradeoff, "PASSES", 3)
    monkeypatch.setattr(peers, "COUNTS", {"500x500": 6})
    monkeypatch.setattr("sys.argv", ["tradeoff", *map(str, arguments)])
    return tradeoff.main()


def test_each_bundle_has_a_row(
    bundle: Bundle, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, bundle.name, copy, "--out", tmp_path) == 0
    text = (tmp_path / "tradeoff.md").read_text()
    assert text.strip() in capsys.readouterr().out
    assert "6 photos of 500x500, 3 passes" in text
    first, second = (re.split(r"\s*\|\s*", line)[1:-1] for line in text.splitlines()[-2:])
    megabytes = sum(path.stat().st_size for path in bundle.path.iterdir() if path.name != "bundle.json") / 1e6
    technical = next(figure for figure in bundle.manifest.card.figures if figure.what.startswith("technical SRCC"))
    assert first[:4] == [bundle.name, f"{megabytes:.1f}", f"{bundle.views.shape[0]} of {bundle.views.size}", "fp32"]
    assert first[6] == "1.00 (1.00 to 1.00)"
    assert first[7] == str(technical)
    assert second[0] == "copy"
    assert second[7:] == ["0.812 (0.761 to 0.854)", "not measured"]
    assert all(float(cell) > 0 for row in (first, second) for cell in row[4:6])


def test_time_is_that_of_a_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def score_many(self, images: list[str]) -> list[str]:
            clock[0] += 0.05 * len(images)
            return images

    clock = [0.0]
    monkeypatch.setattr(tradeoff.time, "perf_counter", lambda: clock[0])
    assert tradeoff.score(Slow(), ["a", "b", "c", "d"]) == pytest.approx(50)


def test_what_is_no_bundle_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, "--out", tmp_path) == 2
    assert "tradeoff: " in capsys.readouterr().err
    assert not (tmp_path / "tradeoff.md").exists()
