"""torch, as a rival of `declip-rt bench`, computes what the checkpoint does; tests/bench has the other rivals."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from declip_rt import Bundle, ConfigError, EngineError
from declip_rt.backends import parity
from declip_rt.backends.contract import Device, Floats
from declip_rt.bench import rivals
from declip_rt.bench.rivals import Rival, Task
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
    rival = rivals.open_rival("torch", Task(trained, CPU, 3, "fp32", checkpoint=vit))
    assert rivals.compare(rival, expected, "fp32", trained.views) < 1e-5
    assert str(rival.info) == f"cpu (torch {torch.__version__}, fp32)"


def test_torch_is_compiled_for_one_batch(vit: Path, trained: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch, "compile", lambda module, **options: asked.append(options) or module)
    rival = rivals.open_rival("torch-compile", Task(trained, CPU, 2, "fp32", checkpoint=vit))
    assert asked == [{"dynamic": False, "mode": "default"}]
    assert " compiled, fp32)" in str(rival.info)


def test_torch_takes_fp16_where_it_scores_alike(vit: Path, trained: Bundle, expected: Floats) -> None:
    task = Task(trained, CPU, 3, "fp32", checkpoint=vit)
    forward, precision = rivals.in_half(task)
    assert precision == "fp16"
    found = rivals.scores(Rival(task, "", "fp16", [rivals.on_host(task, forward)]), trained.views)
    assert 0 < np.abs(found - expected).max() < 0.01


def test_torch_stays_in_fp32_elsewhere_and_says_so(
    vit: Path, trained: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rivals, "_limit", lambda precision: 0.0)
    _, precision = rivals.in_half(Task(trained, CPU, 3, "fp32", checkpoint=vit))
    assert precision == "fp32"
    assert caplog.messages[0].startswith("torch runs in FP32: cpu (torch with a tower in FP16, fp16) is not measured")


def test_another_checkpoint_is_refused(vit: Path, bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="not the one that declip-tiny was exported from"):
        rivals.open_rival("torch", Task(bundle, CPU, 1, "fp32", checkpoint=vit))


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_without_a_gpu_torch_says_so(vit: Path, trained: Bundle) -> None:
    with pytest.raises(EngineError, match="finds no CUDA"):
        rivals.open_rival("torch", Task(trained, Device("tensorrt"), 1, "fp32", checkpoint=vit))
