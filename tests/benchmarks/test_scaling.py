"""The scaling benchmark runs what it says, at sizes for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import peers, scaling


def test_the_command_writes_tables_and_a_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "MEGAPIXELS", (0.02, 0.08))
    monkeypatch.setattr(scaling, "SHOWN", scaling.SHOWN[:1])
    monkeypatch.setattr(scaling, "PHOTOS", 4)
    monkeypatch.setattr(scaling, "COUNTS", dict.fromkeys(scaling.COUNTS, 4))
    monkeypatch.setattr(scaling, "WORKERS", (1,))
    monkeypatch.setattr(scaling, "THREADS", (1, 2))
    monkeypatch.setattr(scaling, "FILES", (3,))
    monkeypatch.setattr(scaling, "MANY", 20)
    monkeypatch.setattr(peers, "SIZES", {"500x500": (60, 60), "8 megapixels": (120, 90)})
    monkeypatch.setattr("sys.argv", ["scaling", "--out", str(tmp_path)])
    assert scaling.main() == 0
    text = (tmp_path / "cpu-scaling.md").read_text()
    assert text.strip() in capsys.readouterr().out
    assert "| images/s at | 0.02 MP | 0.08 MP |" in text
    assert text.count("| --workers 1 |") == 2
    assert "| 3 |" in text
    assert "| 20 |" in text
    assert (tmp_path / "cpu-scaling.png").read_bytes().startswith(b"\x89PNG")


def test_linked_files_are_many(tmp_path: Path) -> None:
    photos = list(peers.generated(tmp_path, (30, 20)))
    made = sorted(scaling.linked(tmp_path / "links", photos, 25).iterdir())
    assert len(made) == 25
    assert made[9].read_bytes() == photos[9 % len(photos)].read_bytes()
