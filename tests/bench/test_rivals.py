"""Rivals compute what declip-rt computes, or are not measured; what they need is named."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from declip_rt import Bundle, ConfigError, EngineError
from declip_rt.backends import parity
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Device, Engine, EngineOptions, Floats
from declip_rt.bench import rivals
from declip_rt.bench.rivals import HostLane, Rival, Task
from declip_rt.model.manifest import File
from train.model import load

CPU = Device("cpu")


def of(bundle: Bundle, batch: int = 3) -> Floats:
    """declip-rt's scores."""
    engine = open_engine(bundle, EngineOptions(device="cpu", batch=batch))
    try:
        return rivals.scores(engine, bundle.views)
    finally:
        engine.close()


def fake(bundle: Bundle, scores: Floats, precision: str = "fp32") -> Engine:
    """A rival that gives these scores."""
    lane = HostLane(np.zeros((len(scores), *bundle.views.shape), np.uint8), lambda pixels: [scores, scores, scores])
    return Rival(Task(bundle, CPU, len(scores), precision), "made up", precision, [lane])


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


def test_plain_onnx_runtime_scores_the_same(bundle: Bundle) -> None:
    rival = rivals.open_rival("ort", Task(bundle, CPU, 3, "fp32", threads=1))
    assert rivals.compare(rival, of(bundle), "fp32", bundle.views) < 1e-4
    assert str(rival.info).startswith("cpu (plain ONNX Runtime ")
    assert (rival.info.batch, len(rival.lanes)) == (3, 1)


@pytest.mark.parametrize(
    ("precision", "change", "passes"),
    [("fp32", 0.0005, True), ("fp32", 0.002, False), ("fp16", 0.002, True), ("fp16", 0.02, False)],
)
def test_a_rival_that_scores_otherwise_is_refused(bundle: Bundle, precision: str, change: float, passes: bool) -> None:
    ours = of(bundle)
    rival = fake(bundle, ours + np.float32(change), precision)
    if passes:
        assert rivals.compare(rival, ours, "fp32", bundle.views) == pytest.approx(change, rel=1e-2)
    else:
        with pytest.raises(EngineError, match="is not measured: its scores differ"):
            rivals.compare(rival, ours, "fp32", bundle.views)


def test_a_rival_that_fails_is_an_engine_error(bundle: Bundle) -> None:
    def fail(pixels: object) -> list[object]:
        raise RuntimeError("no compiler\nand a long trace")

    lane = HostLane(np.zeros((1, *bundle.views.shape), np.uint8), fail)
    rival = Rival(Task(bundle, CPU, 1, "fp32"), "made up", "fp32", [lane])
    with pytest.raises(EngineError, match=r"no compiler$"):
        rivals.scores(rival, bundle.views)


def test_the_pictures_that_are_compared_differ(bundle: Bundle) -> None:
    assert len(np.unique(of(bundle), axis=0)) == 3, "else rows in disorder would pass"


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


def test_what_a_rival_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "declip.pt"
    for names, given, message in (
        (["jax"], None, "knows no 'jax'; choose from torch, torch-compile, ort"),
        (["ort", "torch"], None, "--against torch needs --checkpoint"),
        (["torch-compile"], file, "there is no such file"),
    ):
        with pytest.raises(ConfigError, match=message):
            rivals.check(names, given)
    file.touch()
    rivals.check(["ort", "torch"], file)
    for missing, message in (("train", "python -m declip_rt bench"), ("torch", "torch, which is not installed")):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, missing=missing: name != missing or None)
        with pytest.raises(ConfigError, match=message):
            rivals.check(["torch"], file)


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
@pytest.mark.parametrize(("name", "message"), [("ort", "no CUDA provider"), ("torch", "finds no CUDA")])
def test_without_a_gpu_rivals_say_so(name: str, message: str, vit: Path, trained: Bundle) -> None:
    with pytest.raises(EngineError, match=message):
        rivals.open_rival(name, Task(trained, Device("tensorrt"), 1, "fp32", checkpoint=vit))
