"""One command trains the whole model, and goes on where it was stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from declip_rt.errors import ConfigError
from tests.training import Recipe
from train import declip, run
from train.i2t.manifest import Row, write
from train.model import load

LOOKS = ("dark", "bright", "blurry", "noisy")


def command(recipe: Recipe, out: Path) -> subprocess.CompletedProcess[str]:
    arguments = [recipe.config, "--data", recipe.data, "--out", out]
    return subprocess.run([sys.executable, "-m", "train.run", *arguments], capture_output=True, text=True, check=False)


def test_it_trains_logs_and_is_seeded(recipe: Recipe, checkpoint: Path, tmp_path: Path) -> None:
    done = command(recipe, tmp_path)
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "log.txt").read_text()
    for stage in ("stage 1 ended", "stage 2 ended", "train.heads SRCC", "declip.pt written"):
        assert stage in log
    ours, other = load(tmp_path / "declip.pt")[1].state_dict(), load(checkpoint)[1].state_dict()
    assert all(torch.allclose(value, other[name], atol=1e-5) for name, value in ours.items()), "same seed, same model"

    stage_one = (tmp_path / "clip.pt").stat().st_mtime_ns
    run.train(recipe.config, recipe.data, tmp_path)
    assert (tmp_path / "clip.pt").stat().st_mtime_ns == stage_one, "a finished stage is not trained again"


def test_stage_two_alone_is_gone_on_from(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage 2 learns from a manifest, and the whole run then adds the heads."""
    (tmp_path / "test-tower.json").write_bytes((recipe.config.parent / "test-tower.json").read_bytes())
    config = tmp_path / "frozen.toml"
    config.write_text(recipe.config.read_text().replace("steps = 4", "steps = 0"))
    looks = [Row(f"pristine/images/{i:03}.jpg", (f"a {look} photo",), ("a photo",)) for i, look in enumerate(LOOKS)]
    write(recipe.data / "i2t.jsonl", looks)
    out = tmp_path / "run"
    arguments = [config, "--manifest", recipe.data / "i2t.jsonl", "--out", out]
    monkeypatch.setattr(sys, "argv", ["train.declip", *map(str, arguments)])
    assert declip.main() == 0
    written = (out / "projectors.pt").stat().st_mtime_ns
    done = load(run.train(config, recipe.data, out, recipe.data / "i2t.jsonl"))[1]
    assert (out / "projectors.pt").stat().st_mtime_ns == written
    kept = torch.load(out / "projectors.pt", weights_only=True)["average"]
    assert all(torch.equal(value, done.get_parameter(name.removeprefix("projectors."))) for name, value in kept.items())


def test_a_wrong_folder_is_one_line(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.run", *map(str, (recipe.config, "--data", tmp_path, "--out", tmp_path))])
    assert run.main() == 2
    assert "train/README.md" in capsys.readouterr().err.splitlines()[-1]


def test_a_set_that_is_not_there_is_found_before_the_training(recipe: Recipe, tmp_path: Path) -> None:
    config = tmp_path / "sets.toml"
    config.write_text(
        f'{recipe.config.read_text()}\n[[heads.sets]]\nreader = "koniq10k"\nfolder = "{tmp_path}/nowhere"\n'
    )
    with pytest.raises(ConfigError, match=r"nowhere is no folder; name the one that holds koniq10k"):
        run.train(config, recipe.data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
