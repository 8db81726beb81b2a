"""Devices are named, found or refused with a remedy; outputs that are not finite never pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from declip_rt import Bundle, ConfigError, EngineError
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Device, EngineOptions, Outputs
from declip_rt.backends.onnxrt.session import has_cuda


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("auto", ("auto", 0)),
        ("cpu", ("cpu", 0)),
        ("cuda", ("cuda", 0)),
        ("cuda:3", ("cuda", 3)),
        ("tensorrt:1", ("tensorrt", 1)),
        ("tensorrt:2,0", ("tensorrt", 2, "", (0,))),
        ("cuda:all", ("cuda", 0, "", None)),
    ],
)
def test_devices_as_users_write_them(text: str, device: tuple[Any, ...]) -> None:
    assert Device.parse(text) == Device(*device)


@pytest.mark.parametrize("text", ["gpu", "cpu:1", "cuda:", "cuda:-1", "cuda:1,1", "cuda:0,", "cpu:all", "CUDA", ""])
def test_other_names_list_the_choices(text: str) -> None:
    with pytest.raises(ConfigError, match=r"auto, cpu, cuda\[:i\|i,j\|all\], tensorrt.* or openvino\[:CPU\|GPU\|NPU\]"):
        Device.parse(text)


@pytest.mark.parametrize("name", ["batch", "threads", "lanes"])
def test_counts_are_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` must be at least 1, not 0"):
        EngineOptions(**{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["tensorrt", "tensorrt:1"])
def test_without_a_driver_tensorrt_says_what_to_check(device: str, bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"CUDA cannot be used: .*nvidia-smi"):
        open_engine(bundle, EngineOptions(device=device))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lanes": 2}, "lanes are of GPUs"),
        ({"lanes": 0}, "`lanes` must be at least 1, not 0"),
        ({"recipe": "fp16"}, "a recipe is for TensorRT"),
        ({"precision": "fp4"}, "`precision` cannot be 'fp4'; choose auto, fp32, fp16, bf16, int8 or fp8"),
    ],
)
def test_options_of_other_devices_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        EngineOptions(device="cpu", **options)  # type: ignore[arg-type]


@pytest.mark.skipif(has_cuda(), reason="this onnxruntime has CUDA")
def test_lanes_need_a_gpu_that_auto_finds(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="leave `lanes` out"):
        open_engine(bundle, EngineOptions(lanes=2))


@pytest.mark.parametrize("device", ["auto", "cpu", "openvino"])
def test_fp8_is_for_tensorrt(device: str, bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"fp8 graphs are for TensorRT|not fp8"):
        open_engine(bundle, EngineOptions(device=device, precision="fp8"))


def test_fp16_is_not_for_cpus(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="fp16 graphs are for GPUs"):
        open_engine(bundle, EngineOptions(device="cpu", precision="fp16"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["scores", "perceptual", "semantic"])
def test_non_finite_outputs_are_an_error(name: str, bad: float) -> None:
    arrays = {n: np.zeros((2, 3), np.float32) for n in ("scores", "perceptual", "semantic")}
    arrays[name][1, 2] = bad
    with pytest.raises(EngineError, match=f"non-finite {name}"):
        Outputs(**arrays)
