"""What a GPU does while it computes, as NVML tells."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import msgspec

from declip_rt.backends.cuda.devices import nvml, told
from declip_rt.errors import Unavailable
from declip_rt.extras import load

INTERVAL = 0.2  # seconds between samples; NVML's own are of the last 1/6 s to 1 s
Ask = Callable[[ModuleType, Any], float]
ASKED: Mapping[str, Ask] = {  # of a whole GPU
    "busy": lambda ask, gpu: ask.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
    "decoder": lambda ask, gpu: ask.nvmlDeviceGetDecoderUtilization(gpu)[0] / 100,
    "jpeg": lambda ask, gpu: ask.nvmlDeviceGetJpgUtilization(gpu)[0] / 100,
    "sm_mhz": lambda ask, gpu: ask.nvmlDeviceGetClockInfo(gpu, ask.NVML_CLOCK_SM),
    "memory_mhz": lambda ask, gpu: ask.nvmlDeviceGetClockInfo(gpu, ask.NVML_CLOCK_MEM),
    "watts": lambda ask, gpu: ask.nvmlDeviceGetPowerUsage(gpu) / 1e3,
}
REASONS = {  # why clocks are held down -> NVML's name of it
    "the power limit": "SwPowerCap",
    "heat": "SwThermalSlowdown",
    "heat, by hardware": "HwThermalSlowdown",
    "power, by hardware": "HwPowerBrakeSlowdown",
    "the clocks that were set": "ApplicationsClocksSetting",
}


class Usage(msgspec.Struct, frozen=True):
    """Means over a run, of the whole GPU and whoever uses it. None is what NVML does not tell.

    busy: the share of time in which kernels ran, from 0 to 1. decoder, jpeg: how busy the engines that decode video
    and JPEGs were. memory_mb: that was in use. slowed: why clocks were held down, and in which share of the samples.
    """

    samples: int
    busy: float | None = None
    decoder: float | None = None
    jpeg: float | None = None
    memory_mb: float | None = None
    sm_mhz: float | None = None
    memory_mhz: float | None = None
    watts: float | None = None
    slowed: dict[str, float] = {}

    def __str__(self) -> str:
        shares = {"GPU busy": self.busy, "JPEG engines": self.jpeg, "video decoder": self.decoder}
        figures = {"MB": self.memory_mb, "MHz": self.sm_mhz, "MHz memory": self.memory_mhz, "W": self.watts}
        told = [f"{name} {share:.0%}" for name, share in shares.items() if share is not None]
        told += [f"{value:.0f} {unit}" for unit, value in figures.items() if value is not None]
        told += [f"clocks held down {share:.0%} of the time by {why}" for why, share in self.slowed.items()]
        return ", ".join(told)


class Watch:
    """Samples a GPU while it is entered, in a thread of its own. `usage` is then what it did.

    index: CUDA's. Without a GPU (None), or without NVML, `usage` is None. Of a part of a GPU (MIG), the memory is the
    part's; power and clocks are of the whole GPU, and NVML does not tell how busy either is.
    """

    def __init__(self, index: int | None) -> None:
        self.usage: Usage | None = None
        self._part = None if index is None else _handle(index)
        self._samples: list[dict[str, float]] = []
        self._done, self._thread = threading.Event(), threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        if self._part is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._part is not None:
            self._done.set()
            self._thread.join()
            self.usage = _mean(self._samples)

    def _run(self) -> None:
        """The last sample is of the end, so that there is one of the shortest run."""
        while not self._done.wait(INTERVAL):
            self._samples.append(_sample(self._part))
        self._samples.append(_sample(self._part))


def _handle(index: int) -> Any:
    """NVML's GPU, or part of one, that has this index in CUDA, which may count others. None where there is none."""
    try:
        ask, uuid = nvml(), load("cuda.core").Device(index).uuid
    except Unavailable:
        return None
    found = (told(ask.nvmlDeviceGetHandleByUUID, f"{kind}-{uuid}") for kind in ("GPU", "MIG"))
    return next((handle for handle in found if handle is not None), None)


def _sample(part: Any) -> dict[str, float]:
    ask = nvml()
    whole = told(ask.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, part) or part
    sample = {name: told(figure, ask, whole) for name, figure in ASKED.items()}
    memory = told(ask.nvmlDeviceGetMemoryInfo, part)
    sample["memory_mb"] = None if memory is None else memory.used / 1e6
    reasons = told(ask.nvmlDeviceGetCurrentClocksEventReasons, whole) or 0
    sample |= {why: 1.0 for why, name in REASONS.items() if reasons & getattr(ask, f"nvmlClocksEventReason{name}")}
    return {name: value for name, value in sample.items() if value is not None}


def _mean(samples: list[dict[str, float]]) -> Usage | None:
    values = {name: [sample[name] for sample in samples if name in sample] for name in (*ASKED, "memory_mb")}
    means = {name: sum(each) / len(each) for name, each in values.items() if each}
    if not means:
        return None
    slowed = {why: sum(why in sample for sample in samples) / len(samples) for why in REASONS}
    return Usage(len(samples), slowed={why: share for why, share in slowed.items() if share}, **means)
