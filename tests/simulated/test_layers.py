"""The layers of a plan are timed by TensorRT's profiler, without CUDA graphs."""

from __future__ import annotations

import pytest

from declip_rt import Bundle
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import EngineOptions
from declip_rt.backends.layers import Layer
from declip_rt.bench import layers
from declip_rt.bench.measure import Effort
from tests.simulated.conftest import Simulation


def test_layers_of_the_batch_that_was_asked_for(gpu: Simulation, bundle: Bundle) -> None:
    options = EngineOptions(device="tensorrt", batch=4)
    engine = open_engine(bundle, options)  # which goes on
    found = layers.measure(bundle, options, engine.info, Effort(iterations=7, warmup=0))
    assert (found.batch, found.runs, found.ms) == (4, 7, pytest.approx(2.0))
    head, stem = found.layers
    assert head == Layer("head [profile 1]", "gemm", "sm89_xmma_gemm", "FP16 LINEAR", 1.5, 0.75)
    assert (stem.name, stem.type, stem.ms, stem.share) == ("stem [profile 1]", "", 0.5, 0.25)
    engine.close()
    assert (gpu.used, gpu.pinned) == (0, 0)
