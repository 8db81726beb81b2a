"""`declip-rt doctor` says what is there and what to install for the rest."""

from __future__ import annotations

import importlib.util

import onnxruntime

from declip_rt import native
from tests.conftest import Run


def test_it_reports_versions_engines_and_models(declip: Run) -> None:
    text = declip("doctor").stdout.decode()
    assert f"onnxruntime {onnxruntime.__version__}" in text
    assert "CPUExecutionProvider" in text
    assert "model declip-tiny: bundle" in text
    assert "hashes verified" in text
    assert f"resampling: C++, {native.level()}" in text
    assert f"CUDA kernels: {'built' if native.fatbin() else 'none'}" in text


def test_what_is_missing_names_its_extra(declip: Run) -> None:
    text = declip("doctor").stdout.decode()
    for module, extra in (
        ("tensorrt", "tensorrt"),
        ("tensorrt_rtx", "rtx"),
        ("cuda.core", "tensorrt"),
        ("tokenizers", "prompts"),
        ("ftfy", "prompts"),
        ("scipy", "eval"),
        ("matplotlib", "eval"),
    ):
        assert (f'pip install "declip-rt[{extra}]"' in text) or importlib.util.find_spec(module)
