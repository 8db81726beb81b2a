"""The benchmark against peers measures all of them on the same photos, and they score alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import peers


def test_every_contender_scores_the_same_photos_alike(checkpoint: Path, tmp_path: Path) -> None:
    assert not peers.write_bundle(checkpoint, tmp_path / "bundle"), "a small tower has no INT8 graph"
    sets = {"small": [str(path) for path in peers.generated(tmp_path, (150, 120))]}
    scores = {}
    for name in ("torch and Pillow in a loop, batch 1", "ONNX Runtime by hand, Pillow, batch 8", "declip-rt, fp32"):
        result = peers.run_one(name, checkpoint, tmp_path / "bundle", sets)
        assert len(result["small"]) == peers.PASSES
        assert min(result["small"]) > 0
        scores[name] = result["small, scores"]
    first, *others = scores.values()
    assert len(set(first)) > 1
    for other in others:
        assert other == pytest.approx(first, abs=1e-4)


def test_the_command_writes_a_table(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "COUNTS", {"500x500": 2})
    options = ["--checkpoint", str(checkpoint), "--only", "by hand", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["peers", *options])
    assert peers.main() == 0
    text = (tmp_path / "cpu-test-model.md").read_text()
    assert "| ONNX Runtime by hand, Pillow, batch 8 |" in text
    assert "torch DataLoader" not in text
    assert text.strip() in capsys.readouterr().out
