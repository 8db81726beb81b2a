"""Plain ONNX Runtime computes what declip-rt computes; what it needs is named."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

from declip_rt import Bundle, ConfigError, EngineError
from declip_rt.backends.contract import Device
from declip_rt.bench import rivals
from declip_rt.bench.ort import Ort
from declip_rt.bench.rivals import Task
from tests.bench.test_rivals import CPU, of


def test_plain_onnx_runtime_scores_the_same(bundle: Bundle) -> None:
    rival = Ort().open(Task(bundle, CPU, 3, "fp32", threads=1))
    assert rivals.compare(rival, of(bundle), "fp32", bundle.views) < 1e-4
    assert str(rival.info).startswith("cpu (plain ONNX Runtime ")
    assert (rival.info.batch, len(rival.lanes)) == (3, 1)


def test_what_it_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Ort().check()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="--against ort needs onnxruntime, which is not installed; or leave ort out"):
        Ort().check()


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_without_a_gpu_it_says_so(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="no CUDA provider"):
        Ort().open(Task(bundle, Device("tensorrt"), 1, "fp32"))
