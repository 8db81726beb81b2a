"""`declip-rt doctor` says what is there and what to install for the rest."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, distributions

import onnxruntime
import pytest

from declip_rt import native
from declip_rt.commands import doctor
from declip_rt.extras import EXTRAS
from tests.conftest import Run


def test_it_reports_versions_engines_and_models(declip: Run) -> None:
    text = declip("doctor").stdout.decode()
    assert f"onnxruntime {onnxruntime.__version__}" in text
    assert "CPUExecutionProvider" in text
    assert "model declip-tiny: bundle" in text
    assert "hashes verified" in text
    assert f"resampling: C++, {native.level()}" in text
    assert f"CUDA kernels: {'built' if native.fatbin() else 'none'}" in text


@pytest.mark.parametrize(
    ("distribution", "label", "extra"),
    [
        ("onnxruntime", "ONNX Runtime (cpu, cuda)", "cpu cuda"),
        ("tensorrt", "TensorRT", "tensorrt"),
        ("tensorrt-rtx", "TensorRT for RTX", "rtx"),
        ("cuda-core", "CUDA: streams, graphs and kernels", "tensorrt rtx cuda"),
        ("nvidia-ml-py", "NVML: GPUs and what they do", "tensorrt rtx cuda"),
        ("nvidia-nvimgcodec-cu13", "decoding on the GPU", "gpu-decode"),
        ("pyarrow", "Parquet output", "parquet"),
        ("tokenizers", "own prompts", "prompts"),
        ("ftfy", "cleaning of own prompts", "prompts"),
        ("scipy", "eval and calibrate", "eval"),
        ("matplotlib", "plots", "eval bench"),
        ("nvtx", "ranges in Nsight Systems", "profile"),
        ("onnx", "counting FLOPs", "bench"),
    ],
)
def test_each_engine_is_named_with_its_version_or_its_extra(
    distribution: str, label: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is installed here: what is missing names its extra, and what is there its version."""

    def missing(name: str) -> str:
        if name in ("numpy", "pillow", "msgspec", "tqdm"):
            return "1"
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", missing)
    remedy = " or ".join(f'pip install "declip-rt[{each}]"' for each in extra.split())
    assert f"{label}: not installed; {remedy}" in list(doctor.lines())
    monkeypatch.setattr(doctor, "version", lambda name: "7.8.9" if name == distribution else missing(name))
    monkeypatch.setattr(doctor, "load", lambda name: None)
    assert f"{label}: {distribution} 7.8.9" in list(doctor.lines())


def test_what_does_not_import_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError("libcudart is too old")

    monkeypatch.setattr(doctor, "version", lambda name: "7.8.9")
    monkeypatch.setattr(importlib, "import_module", broken)
    assert "own prompts: tokenizers 7.8.9 is installed but does not import: libcudart is too old" in list(
        doctor.lines()
    )


def test_the_command_says_what_is_missing_here(declip: Run) -> None:
    """The command reports a distribution as missing where this environment lacks it, and only there."""
    lines = declip("doctor").stdout.decode().splitlines()
    installed = {str(each.metadata["Name"]).lower().replace("_", "-") for each in distributions()}
    for extra in EXTRAS:
        said = f"{extra.gives}: not installed; {extra.remedy}"
        assert (said in lines) == installed.isdisjoint(extra.distributions), extra.gives
