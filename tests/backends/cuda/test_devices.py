"""GPUs are what NVML says."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import pytest

from declip_rt import Unavailable
from declip_rt.backends.cuda import devices
from declip_rt.backends.cuda.devices import Gpu, list_devices, memory_held
from declip_rt.commands import doctor
from tests.simulated import nvml as stand_in


def test_what_it_says(nvml: ModuleType) -> None:
    lost = stand_in.Gpu("NVIDIA A10", capability=None)  # type: ignore[arg-type]
    nvml.gpus += [stand_in.Gpu("NVIDIA L4"), lost, stand_in.Gpu("NVIDIA T4", capability=(7, 5))]
    assert list_devices() == [Gpu(0, "NVIDIA L4", "8.9", "580.65"), Gpu(2, "NVIDIA T4", "7.5", "580.65")]
    assert "NVIDIA devices: cuda:0 NVIDIA L4, driver 580.65, cuda:2 NVIDIA T4, driver 580.65" in list(doctor.lines())


def test_memory_is_what_this_process_holds_on_all_gpus(nvml: ModuleType) -> None:
    assert memory_held() is None
    nvml.gpus += [stand_in.Gpu(processes=[(1, 100), (os.getpid(), 2_000_000)]) for _ in range(2)]
    assert memory_held() == 4.0
    nvml.gpus[:] = [stand_in.Gpu(processes=[(os.getpid(), None)])]
    assert memory_held() is None, "as in a container"


def test_without_a_driver_there_is_none_and_doctor_says_why(nvml: ModuleType) -> None:
    assert "NVIDIA devices: none found (NVML lists none)" in list(doctor.lines())
    devices.nvml.cache_clear()
    nvml.missing.append("NVML Shared Library Not Found")
    assert (list_devices(), memory_held()) == ([], None)
    said = next(line for line in doctor.lines() if line.startswith("NVIDIA devices"))
    assert said.startswith("NVIDIA devices: none found (NVML cannot be used: NVML Shared Library Not Found; ")


def test_without_the_library_there_is_none_and_doctor_names_the_extra(
    nvml: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # type: ignore[arg-type]
    assert (list_devices(), memory_held()) == ([], None)
    with pytest.raises(Unavailable, match=r'pip install "declip-rt\[tensorrt\]"'):
        devices.nvml()
