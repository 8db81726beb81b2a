"""OpenVINO behind the lane contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from declip_rt import Bundle, ConfigError, EngineError, ParityError, Scorer
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Device, EngineOptions
from declip_rt.backends.host import SPARE_LANES
from declip_rt.backends.openvino import engine as module
from declip_rt.stats import Stats
from tests.backends.contract import Contract, Open, pixels, scores

DEVICE = EngineOptions(device="openvino", batch=4)


@pytest.fixture
def reopen(bundle: Bundle) -> Open:
    return lambda: module.open_compiled(bundle, DEVICE, Stats())


class TestContract(Contract):
    """OpenVINO on the CPU."""


def test_it_scores_as_the_reference_does(bundle: Bundle, folder: Path) -> None:
    photos = sorted(folder.glob("*.jpg"))
    with Scorer(device="openvino") as ours, Scorer(device="cpu", precision="fp32") as reference:
        assert str(ours.engine).startswith("openvino (OpenVINO 20")
        assert str(ours.engine).endswith(", CPU, fp32)")
        for one, other in zip(ours.score_many(photos), reference.score_many(photos), strict=True):
            assert one.technical == pytest.approx(other.technical, abs=1e-4)
            assert one.attributes == pytest.approx(other.attributes, abs=1e-4)


def test_streams_are_shared_as_on_onnx_runtime(bundle: Bundle) -> None:
    for threads, batch, at_once in ((2, 8, 2), (1, 8, 1), (3, 1, 1)):
        options = EngineOptions(device="openvino", batch=batch, threads=threads)
        engine = module.open_compiled(bundle, options, Stats())
        assert len(engine.lanes) == at_once + SPARE_LANES
        engine.close()


def test_a_precision_that_does_not_score_alike_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 moves the embedded model's scores by more than 0.01."""
    options = EngineOptions(device="openvino", precision="bf16", batch=4)
    capabilities = module._core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    with pytest.raises(ParityError if "BF16" in capabilities else EngineError, match=r"bf16"):
        open_engine(bundle, options)


class Core:
    """One that has no bf16, and no GPU."""

    available_devices = ("CPU",)

    def get_property(self, unit: str, name: str) -> Any:
        return ["FP32"]


@pytest.mark.parametrize(
    ("precision", "message"),
    [("bf16", "no instructions for bf16"), ("fp16", "computes fp32, bf16 and int8"), ("int8", "has no VNNI")],
)
def test_what_it_cannot_compute_says_why(
    precision: str, message: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "multiplies_8_bits", lambda: False)
    with pytest.raises(EngineError, match=message):
        module.choose_precision(Core(), "CPU", precision, bundle)


def test_a_device_that_is_not_there_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_core", Core)
    with pytest.raises(EngineError, match="OpenVINO finds no NPU here; it has: CPU"):
        open_engine(bundle, EngineOptions(device="openvino:NPU"))


def test_its_names() -> None:
    assert (Device.parse("openvino"), Device.parse("openvino:GPU").unit) == (Device("openvino", unit="CPU"), "GPU")
    for wrong in ("openvino:", "openvino:TPU", "openvino:0", "OpenVINO"):
        with pytest.raises(ConfigError, match=r"openvino\[:CPU\|GPU\|NPU\]"):
            Device.parse(wrong)
    with pytest.raises(ConfigError, match="lanes are of GPUs"):
        EngineOptions(device="openvino", lanes=3)


def test_a_graph_without_an_end_is_stopped(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RUN", 0)
    engine = module.open_compiled(bundle, DEVICE, Stats())
    with pytest.raises(EngineError, match="ran for 0 s without an end"):
        scores(engine, 0, pixels(0, bundle))
    engine.close()


def test_the_first_and_later_runs_are_alike(bundle: Bundle) -> None:
    engine = module.open_compiled(bundle, DEVICE, Stats())
    images = pixels(3, bundle)
    assert np.array_equal(scores(engine, 0, images), scores(engine, 1, images))
    engine.close()


def test_a_process_ends_and_a_fork_too_and_nothing_is_left_at_home(tmp_path: Path) -> None:
    code = """
import os, sys
from declip_rt import Scorer
scorer = Scorer(device="openvino")
list(scorer.score_many([bytes(3)], return_errors=True))
child = os.fork()
if not child:
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | home, capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout == "3\n"
    assert not list(tmp_path.iterdir()), "no telemetry"
