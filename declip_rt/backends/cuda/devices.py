"""The NVIDIA GPUs of this machine, as NVML tells, the driver's library."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from declip_rt.errors import Unavailable
from declip_rt.extras import load


@dataclass(frozen=True)
class Gpu:
    index: int
    name: str
    capability: str  # 8.9
    driver: str


@cache
def nvml() -> ModuleType:
    """pynvml, ready to be asked. Raises Unavailable without it, or without a driver."""
    module = load("pynvml")
    try:
        module.nvmlInit()
    except module.NVMLError as error:
        raise Unavailable(f"NVML cannot be used: {error}; it comes with NVIDIA's driver", name="pynvml") from error
    return module


def told(ask: Callable[..., Any], *about: object) -> Any:
    """What `ask`, which uses NVML, returns. None where NVML cannot tell: not of this GPU, or not in this container."""
    try:
        return ask(*about)
    except nvml().NVMLError:
        return None


def list_devices() -> list[Gpu]:
    """The GPUs by NVML's index. Empty where NVML cannot be used."""
    return [gpu for handle in _handles() if (gpu := told(_gpu, handle))]


def memory_held() -> float | None:
    """MB that this process holds on GPUs; None where NVML does not tell, as in most containers."""
    processes = [
        each for handle in _handles() for each in told(nvml().nvmlDeviceGetComputeRunningProcesses, handle) or ()
    ]
    held = [each.usedGpuMemory for each in processes if each.pid == os.getpid() and each.usedGpuMemory is not None]
    return sum(held) / 1e6 if held else None


def _handles() -> list[Any]:
    try:
        ask = nvml()
    except Unavailable:
        return []
    found = (told(ask.nvmlDeviceGetHandleByIndex, index) for index in range(told(ask.nvmlDeviceGetCount) or 0))
    return [handle for handle in found if handle is not None]


def _gpu(handle: Any) -> Gpu:
    ask = nvml()
    capability = "{}.{}".format(*ask.nvmlDeviceGetCudaComputeCapability(handle))
    index = ask.nvmlDeviceGetIndex(handle)
    return Gpu(index, ask.nvmlDeviceGetName(handle), capability, ask.nvmlSystemGetDriverVersion())
