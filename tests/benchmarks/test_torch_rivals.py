"""torch, as a rival of declip-rt, computes what the checkpoint does, or is not measured; what it needs is named."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from benchmarks import torch_rivals
from benchmarks.torch_rivals import TorchRival
from declip_rt import Bundle, ConfigError, EngineError
from declip_rt.backends import parity
from declip_rt.backends.contract import Device, Floats
from declip_rt.bench import rivals
from declip_rt.bench.rivals import Rival, Task
from declip_rt.errors import Unavailable
from declip_rt.model.manifest import File
from train.model import load

CPU = Device("cpu")


@pytest.fixture(scope="module")
def trained(vit: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """What an export of the checkpoint `vit` says of it, without the graph, which takes long to write."""
    folder = tmp_path_factory.mktemp("trained")
    manifest = replace(Bundle().manifest, views=load(vit)[0].views, checkpoint_sha256=File.of(vit).sha256)
    manifest.write(folder)
    return Bundle(folder, verify=False)


@pytest.fixture(scope="module")
def expected(vit: Path, trained: Bundle) -> Floats:
    """The scores of the checkpoint, by itself, for the first 3 pictures."""
    with torch.inference_mode():
        scores: Floats = load(vit)[1](torch.from_numpy(parity.pictures(trained.views)[:3]))[0].numpy()
    return scores


def test_torch_scores_as_the_checkpoint(vit: Path, trained: Bundle, expected: Floats) -> None:
    rival = TorchRival("torch", vit).open(Task(trained, CPU, 3, "fp32"))
    assert rivals.compare(rival, expected, "fp32", trained.views) < 1e-5
    assert str(rival.info) == f"cpu (torch {torch.__version__}, fp32)"


def test_torch_is_compiled_for_one_batch(vit: Path, trained: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch, "compile", lambda module, **options: asked.append(options) or module)
    rival = TorchRival("torch-compile", vit, compiled=True).open(Task(trained, CPU, 2, "fp32"))
    assert asked == [{"dynamic": False, "mode": "default"}]
    assert " compiled, fp32)" in str(rival.info)


def test_torch_takes_fp16_where_it_scores_alike(vit: Path, trained: Bundle, expected: Floats) -> None:
    task = Task(trained, CPU, 3, "fp32")
    forward, precision = torch_rivals.in_half(task, vit)
    assert precision == "fp16"
    found = rivals.scores(Rival(task, "", "fp16", [torch_rivals.on_host(task, forward)]), trained.views)
    assert 0 < np.abs(found - expected).max() < 0.01


def test_torch_stays_in_fp32_elsewhere_and_says_so(
    vit: Path, trained: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rivals, "_limit", lambda precision: 0.0)
    _, precision = torch_rivals.in_half(Task(trained, CPU, 3, "fp32"), vit)
    assert precision == "fp32"
    assert caplog.messages[0].startswith("torch runs in FP32: cpu (torch with a tower in FP16, fp16) is not measured")


def test_what_it_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "declip.pt"
    for name, given, message in (
        ("torch", None, "--against torch needs --checkpoint"),
        ("torch-compile", file, "there is no such file"),
    ):
        with pytest.raises(ConfigError, match=message):
            TorchRival(name, given).check()
    file.touch()
    TorchRival("torch", file).check()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else name)
    with pytest.raises(ConfigError, match="--against torch needs torch, which is not installed"):
        TorchRival("torch", file).check()
    monkeypatch.setitem(sys.modules, "train.model", None)
    with pytest.raises(Unavailable, match="torch cannot be used"):
        TorchRival("torch", file).open(Task(Bundle(), CPU, 1, "fp32"))


def test_another_checkpoint_is_refused(vit: Path, bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="not the one that declip-tiny was exported from"):
        TorchRival("torch", vit).open(Task(bundle, CPU, 1, "fp32"))


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_without_a_gpu_torch_says_so(vit: Path, trained: Bundle) -> None:
    with pytest.raises(EngineError, match="finds no CUDA"):
        TorchRival("torch", vit).open(Task(trained, Device("tensorrt"), 1, "fp32"))
