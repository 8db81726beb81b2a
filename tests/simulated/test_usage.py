"""A GPU is watched while it computes; what NVML does not tell is left out."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import ModuleType

import pytest

from declip_rt import Bundle
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import EngineOptions
from declip_rt.backends.cuda import devices, usage
from declip_rt.backends.cuda.usage import Usage, Watch
from declip_rt.bench.measure import Effort, measure
from declip_rt.commands.main import main
from declip_rt.stats import Stats
from tests.simulated.conftest import Simulation
from tests.simulated.nvml import MIB, Gpu

MIG = "MIG-07070707-0707-0707-0707-070707070707"
OTHER = "GPU-another"


def watched(seconds: float = 0.0) -> Usage | None:
    with Watch(0) as watch:
        time.sleep(seconds)
    return watch.usage


def test_means_of_a_run(gpu: Simulation, nvml: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "INTERVAL", 0.01)
    capped = nvml.nvmlClocksEventReasonSwPowerCap | 1  # and another bit
    nvml.gpus += [Gpu(uuid=OTHER, busy=1), Gpu(reasons=[capped, capped, capped | 0x40])]
    found = watched(0.2)
    assert found is not None
    assert found.samples > 4
    assert (found.busy, found.decoder, found.jpeg) == pytest.approx((0.9, 0.0, 0.4))
    assert (found.sm_mhz, found.memory_mhz, found.watts) == pytest.approx((1980, 2619, 350))
    assert found.memory_mb == pytest.approx(1000 * MIB / 1e6)
    assert found.slowed == pytest.approx({"the power limit": 3 / found.samples, "heat, by hardware": 1 / found.samples})


def test_a_short_run_has_a_sample_and_words(gpu: Simulation, nvml: ModuleType) -> None:
    nvml.gpus.append(Gpu(reasons=[nvml.nvmlClocksEventReasonSwPowerCap]))
    assert str(watched()) == (
        "GPU busy 90%, JPEG engines 40%, video decoder 0%, 1049 MB, 1980 MHz, 2619 MHz memory, 350 W, "
        "clocks held down 100% of the time by the power limit"
    )


def test_of_a_part_of_a_gpu_its_memory_and_the_wholes_power(gpu: Simulation, nvml: ModuleType) -> None:
    whole = Gpu(uuid=OTHER, busy=None, decoder=None, jpeg=None)
    nvml.gpus += [whole, Gpu(uuid=MIG, used=10 * MIB, busy=None, clocks=None, milliwatts=None, whole=whole)]
    found = watched()
    assert found is not None
    assert (found.busy, found.jpeg) == (None, None)
    assert found.memory_mb == pytest.approx(10 * MIB / 1e6)
    assert (found.watts, found.sm_mhz) == (350, 1980)


def test_what_is_not_told_is_silent(gpu: Simulation, nvml: ModuleType) -> None:
    assert watched() is None, "NVML does not know the GPU"
    nvml.gpus.append(Gpu(busy=None, decoder=None, jpeg=None, used=None, clocks=None, milliwatts=None))
    assert watched() is None
    nvml.gpus[:] = [Gpu()]
    assert watched() is not None
    devices.nvml.cache_clear()
    nvml.missing.append("Driver Not Loaded")
    assert watched() is None
    with Watch(None) as watch:
        pass
    assert watch.usage is None, "no GPU computes"


def test_a_row_tells_what_the_gpu_did(gpu: Simulation, bundle: Bundle, nvml: ModuleType) -> None:
    nvml.gpus.append(Gpu(processes=[(os.getpid(), 500 * MIB)]))
    engine = open_engine(bundle, EngineOptions(device="tensorrt", batch=2, lanes=1))
    row = measure("declip-rt", engine, bundle.views, Effort(iterations=3, warmup=0), Stats())
    engine.close()
    assert row.usage is not None
    assert row.usage.busy == pytest.approx(0.9)
    assert row.gpu_memory_mb == pytest.approx(500 * MIB / 1e6)


def test_score_prints_it_with_its_stats(
    gpu: Simulation, bundle: Bundle, nvml: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nvml.gpus.append(Gpu())
    options = ["score", str(folder), "--model", str(bundle.path), "--device", "tensorrt", "--lanes", "1"]
    for more in ([], ["--stats"]):
        assert main([*options, *more]) == 0
        assert ("\nGPU busy 90%, JPEG engines 40%, " in capsys.readouterr().err) == bool(more)
