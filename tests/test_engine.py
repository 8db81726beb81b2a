"""Devices are named, found or refused with a remedy; outputs that are not finite never pass."""

from __future__ import annotations

import numpy as np
import pytest

from declip_rt import Bundle, ConfigError, EngineError
from declip_rt.engine import Device, Outputs, open_engine


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("auto", ("auto", 0)),
        ("cpu", ("cpu", 0)),
        ("cuda", ("cuda", 0)),
        ("cuda:3", ("cuda", 3)),
        ("tensorrt:1", ("tensorrt", 1)),
    ],
)
def test_devices_as_users_write_them(text: str, device: tuple[str, int]) -> None:
    assert Device.parse(text) == Device(*device)


@pytest.mark.parametrize("text", ["gpu", "cpu:1", "cuda:", "cuda:-1", "CUDA", ""])
def test_other_names_list_the_choices(text: str) -> None:
    with pytest.raises(ConfigError, match=r"auto, cpu, cuda\[:i\] or tensorrt\[:i\]"):
        Device.parse(text)


def test_a_batch_of_none_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        open_engine(bundle, "cpu", 0)


def test_tensorrt_says_what_to_use_instead(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="--device cuda"):
        open_engine(bundle, "tensorrt")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["scores", "perceptual", "semantic"])
def test_non_finite_outputs_are_an_error(name: str, bad: float) -> None:
    arrays = {n: np.zeros((2, 3), np.float32) for n in ("scores", "perceptual", "semantic")}
    arrays[name][1, 2] = bad
    with pytest.raises(EngineError, match=f"non-finite {name}"):
        Outputs(**arrays)
