"""Training end to end, on a small base that is trained here and on small pipelines of Stable Diffusion."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from declip_rt import Bundle
from declip_rt.errors import ConfigError
from tests.train.dp_adapter import albums, pipelines
from train.dp_adapter import run, training
from train.dp_adapter.adapter import state_dicts
from train.dp_adapter.card import Card
from train.dp_adapter.config import Config
from train.dp_adapter.pairs import SYSTEMS
from train.dp_adapter.run import Workshop
from train.i2t.manifest import write

TOML = """
[album]
photos = 4
side = 16
looks = 6
held_out = 2
[base]
steps = 2
batch = 4
channels = [16, 32]
width = 16
workers = 0
[adapters]
steps = 2
batch = 4
workers = 0
"""


def weights(base: training.Base) -> list[Tensor]:
    """Those of a base's adapters."""
    return [tensor for tensors in state_dicts(base.unet) for tensor in tensors.values()]


def opened(folder: Path, config: Config, run: str = "run") -> Workshop:
    return Workshop.open(config, albums.source(folder), folder / run)


def test_only_the_adapters_learn(tmp_path: Path):
    workshop = opened(tmp_path, albums.config())
    before = {name: value.clone() for name, value in workshop.base.unet.state_dict().items()}
    base = workshop.trained("dp_adapter", SYSTEMS["dp_adapter"], 0)
    after = base.unet.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    untrained = opened(tmp_path, albums.config(lr=1e-9)).trained("other", SYSTEMS["dp_adapter"], 0)
    assert not any(torch.equal(one, two) for one, two in zip(weights(base), weights(untrained), strict=True))


def test_a_resumed_training_ends_as_an_unbroken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    unbroken = weights(opened(tmp_path, albums.config(), "one").trained("a", SYSTEMS["dp_adapter"], 0))
    losses, calls = training._loss, []

    def stopped(*given: object) -> Tensor:
        calls.append(given)
        if len(calls) == 4:  # after the checkpoint of step 2
            raise KeyboardInterrupt
        return losses(*given)

    monkeypatch.setattr(training, "_loss", stopped)
    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path, albums.config(), "two").trained("a", SYSTEMS["dp_adapter"], 0)
    resumed = weights(opened(tmp_path, albums.config(), "two").trained("a", SYSTEMS["dp_adapter"], 0))
    assert len(calls) == 6
    assert all(torch.equal(one, two) for one, two in zip(unbroken, resumed, strict=True))


def test_held_out_looks_are_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    workshop = opened(tmp_path, albums.config(steps=20))
    seen: list[int] = []
    latents = workshop.material.latents

    def watched(numbers: np.ndarray) -> Tensor:
        seen.extend(numbers)
        return latents(numbers)

    class Watched(dict[str, Tensor]):
        def __getitem__(self, name: str) -> Tensor:
            whole = super().__getitem__(name)
            held = torch.arange(len(whole)) % 6 >= 4
            return torch.where(held[:, None], torch.nan, whole)  # whoever reads one fails

    material = replace(workshop.material, latents=watched, features=Watched(workshop.material.features))
    training.train(workshop.base, material, SYSTEMS["dp_adapter"], workshop.config.adapters, 0, tmp_path / "a.pt")
    assert {number % 6 for number in seen} == {0, 1, 2, 3}
    assert all(torch.isfinite(tensor).all() for tensor in weights(workshop.base))


def test_the_base_sees_no_held_out_look(tmp_path: Path):
    from train.dp_adapter.toy import Batches

    workshop = opened(tmp_path, albums.config())
    album = workshop.material.album
    latents = torch.arange(float(len(album)))[:, None, None, None]
    batches = Batches(album, latents, workshop.config.base, 0)
    seen = torch.cat([batches[i]["latents"].flatten() for i in range(50)])
    assert set((seen.long() % 6).tolist()) == {0, 1, 2, 3}


def test_words_name_the_photos_and_are_left_out_at_times(tmp_path: Path):
    from train.dp_adapter.toy import LEVELS, Batches

    workshop = opened(tmp_path, albums.config())
    album = workshop.material.album
    batches = Batches(album, torch.arange(float(len(album)))[:, None, None, None], workshop.config.base, 0)
    some = [batches[i] for i in range(100)]
    words, photos = (
        torch.cat(each) for each in ([b["words"] for b in some], [b["latents"].flatten() // 6 for b in some])
    )
    told = words < len(album.rows)
    assert torch.equal(words[told], photos[told].long())
    levels = torch.cat([b["levels"] for b in some])
    silent = (levels == LEVELS).all(1)
    assert not (levels == LEVELS).any(1)[~silent].any()
    assert all(0.2 < share.float().mean() < 0.4 for share in (~told, silent))
    assert (silent & ~told).float().mean() == pytest.approx(0.09, abs=0.05)


def test_another_systems_checkpoint_is_refused(tmp_path: Path):
    opened(tmp_path, albums.config()).trained("a", SYSTEMS["dp_adapter"], 0)
    with pytest.raises(ConfigError, match="other settings or data"):
        opened(tmp_path, albums.config()).trained("a", SYSTEMS["self"], 0)


def test_a_checkpoint_of_another_base_is_refused(tmp_path: Path):
    opened(tmp_path, albums.config()).trained("a", SYSTEMS["dp_adapter"], 0)
    workshop = opened(tmp_path, albums.config())
    with torch.no_grad():
        workshop.base.unet.conv_in.weight[0] += 1
    with pytest.raises(ConfigError, match="other settings or data"):
        workshop.trained("a", SYSTEMS["dp_adapter"], 0)


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_adapters_of_stable_diffusion_load_into_its_pipeline(kind: str, tmp_path: Path, bundle: Bundle):
    base = pipelines.write(kind, tmp_path)
    config = msgspec.structs.replace(albums.config(text=0.5), base=str(base))
    folder = run.train(config, albums.source(tmp_path), tmp_path / "run")
    card = Card.read(folder)
    pipeline = DiffusionPipeline.from_pretrained(base)
    card.check_base(pipeline.unet, str(base))
    names = [branch.weights.file for branch in card.branches]
    pipeline.load_ip_adapter([str(folder)] * 2, subfolder="", weight_name=names, image_encoder_folder=None)


def test_two_processes_train_one_adapter(tmp_path: Path):
    write(tmp_path / "i2t.jsonl", albums.source(tmp_path).rows)
    (tmp_path / "c.toml").write_text(TOML)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = [tmp_path / "c.toml", "--manifest", tmp_path / "i2t.jsonl", "--out", tmp_path / "run"]
    subprocess.run([*launcher, "-m", "train.dp_adapter", *options], check=True, capture_output=True)
    assert Card.read(tmp_path / "run" / "adapter").base.name == "toy"
    assert "2 process(es)" in (tmp_path / "run" / "log.txt").read_text()


def test_the_command_trains_and_says_what_is_wrong(tmp_path: Path):
    source = albums.source(tmp_path)
    write(tmp_path / "i2t.jsonl", source.rows)
    (tmp_path / "c.toml").write_text(TOML)
    command = [
        sys.executable,
        "-m",
        "train.dp_adapter",
        tmp_path / "c.toml",
        "--out",
        tmp_path / "run",
        "--pairs",
        "self",
    ]
    subprocess.run([*command, "--manifest", tmp_path / "i2t.jsonl"], check=True, capture_output=True)
    assert Card.read(tmp_path / "run" / "adapter").base.name == "toy"
    assert (tmp_path / "run" / "self-0.pt").is_file()
    (tmp_path / "c.toml").write_text("[album]\n")
    failed = subprocess.run([*command, "--manifest", tmp_path / "i2t.jsonl"], capture_output=True, text=True)
    assert failed.returncode == 2
    assert "cannot use" in failed.stderr
