"""The benchmark against peers measures all of them on the same photos, and they score alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import peers
from train.model import load


def test_every_contender_scores_the_same_photos_alike(checkpoint: Path, tmp_path: Path) -> None:
    sets = {"small": [str(path) for path in peers.generated(tmp_path, (150, 120))]}
    peers.write_bundle(checkpoint, tmp_path / "bundle", sets)
    scores = {}
    for name in (
        "torch and Pillow in a loop, batch 1",
        "torch DataLoader, 2 workers, batch 32",
        "ONNX Runtime by hand, Pillow, batch 8",
        "declip-rt, fp32",
    ):
        result = peers.run_one(name, checkpoint, tmp_path / "bundle", sets)
        assert len(result["small"]) == peers.PASSES
        assert min(result["small"]) > 0
        scores[name] = result["small, scores"]
    first, *others = scores.values()
    assert len(set(first)) > 1
    for other in others:
        assert other == pytest.approx(first, abs=1e-4)


def test_contenders_that_score_differently_end_the_run() -> None:
    results = {"torch": {"small, scores": [0.5, 0.6]}, "declip-rt, fp32": {"small, scores": [0.5, 0.7]}}
    with pytest.raises(SystemExit, match="declip-rt, fp32 scores other than torch"):
        peers.check("declip-rt, fp32", results)
    peers.check("declip-rt, int8", results | {"declip-rt, int8": results["declip-rt, fp32"]})


def test_the_command_writes_a_table(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "COUNTS", {"500x500": 2})
    options = ["--checkpoint", str(checkpoint), "--only", "by hand", "--only", "rt, fp32", "--only", "decoding alone"]
    options += ["--out", str(tmp_path / "cpu.md")]
    monkeypatch.setattr("sys.argv", ["peers", *options])
    assert peers.main() == 0
    text = (tmp_path / "cpu.md").read_text()
    assert "| ONNX Runtime by hand, Pillow, batch 8 |" in text
    ours = next(line for line in text.splitlines() if line.startswith("| declip-rt, fp32 |"))
    assert re.search(r"\*\*\d+\.\d\dx\*\*", ours)
    assert "torch DataLoader" not in text
    assert text.strip() in capsys.readouterr().out


def test_random_models_are_of_full_size(tmp_path: Path) -> None:
    config, model, _ = load(peers.random_model("ViT-B-32", tmp_path))
    assert config.views.shape == (1, 224, 224, 3)
    assert sum(parameter.numel() for parameter in model.clip.visual.parameters()) > 80e6
