"""A matrix product through TensorRT is timed on the GPU."""

from __future__ import annotations

import numpy as np
import pytest

from declip_rt.backends.contract import Device
from declip_rt.bench import flops
from tests.simulated.conftest import Simulation


def test_the_rate_of_a_product(gpu: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "SIDES", {"tensorrt": 64})
    monkeypatch.setattr(flops, "SECONDS", 0.0)
    gpu.reset(slow=0.01)
    rate = flops.matrix_rate(Device("tensorrt"), "fp16")
    assert 0.3 * 2 * 64**3 / 0.01 < rate <= 1.1 * 2 * 64**3 / 0.01, "as long as the device says that it took"
    assert [span.kind for span in gpu.spans].count(b"c") == flops.RUNS + 1
    assert np.isfinite(rate)
