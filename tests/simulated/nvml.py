"""A stand-in for pynvml, with the GPUs that a test gives it; test_names.py finds each name in the real one."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2
nvmlClocksEventReasonApplicationsClocksSetting = 0x2
nvmlClocksEventReasonSwPowerCap = 0x4
nvmlClocksEventReasonSwThermalSlowdown = 0x20
nvmlClocksEventReasonHwThermalSlowdown = 0x40
nvmlClocksEventReasonHwPowerBrakeSlowdown = 0x80
MIB = 2**20


class NVMLError(Exception): ...


@dataclass
class Gpu:
    """None is what NVML does not tell of it. whole: the GPU that it is a part of."""

    name: str = "Simulated GPU"
    uuid: str = "GPU-07070707-0707-0707-0707-070707070707"  # as the simulated driver's
    capability: tuple[int, int] = (8, 9)
    busy: int | None = 90  # %
    decoder: int | None = 0
    jpeg: int | None = 40
    used: int | None = 1000 * MIB
    clocks: tuple[int, int] | None = (1980, 2619)  # MHz of SM and memory
    milliwatts: int | None = 350_000
    reasons: list[int] = field(default_factory=list)  # of the next samples; then none
    processes: list[tuple[int, int | None]] = field(default_factory=list)  # pid, bytes
    whole: Gpu | None = None


gpus: list[Gpu] = []
missing: list[str] = []  # why there is no driver


def _known(value: Any) -> Any:
    if value is None:
        raise NVMLError("Not Supported")
    return value


def nvmlInit() -> None:
    if missing:
        raise NVMLError(missing[0])


def nvmlSystemGetDriverVersion() -> str:
    return "580.65"


def nvmlDeviceGetCount() -> int:
    return len([each for each in gpus if each.whole is None])


def nvmlDeviceGetHandleByIndex(index: int) -> Gpu:
    return gpus[index]


def nvmlDeviceGetHandleByUUID(uuid: str) -> Gpu:
    return _known(next((each for each in gpus if each.uuid == uuid), None))


def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part: Gpu) -> Gpu:
    return _known(part.whole)


def nvmlDeviceGetIndex(gpu: Gpu) -> int:
    return gpus.index(gpu)


def nvmlDeviceGetName(gpu: Gpu) -> str:
    return gpu.name


def nvmlDeviceGetCudaComputeCapability(gpu: Gpu) -> tuple[int, int]:
    return _known(gpu.capability)


def nvmlDeviceGetComputeRunningProcesses(gpu: Gpu) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in gpu.processes]


def nvmlDeviceGetUtilizationRates(gpu: Gpu) -> SimpleNamespace:
    return SimpleNamespace(gpu=_known(gpu.busy), memory=0)


def nvmlDeviceGetDecoderUtilization(gpu: Gpu) -> list[int]:
    return [_known(gpu.decoder), 200_000]


def nvmlDeviceGetJpgUtilization(gpu: Gpu) -> list[int]:
    return [_known(gpu.jpeg), 200_000]


def nvmlDeviceGetMemoryInfo(gpu: Gpu) -> SimpleNamespace:
    return SimpleNamespace(used=_known(gpu.used), total=80_000 * MIB)


def nvmlDeviceGetClockInfo(gpu: Gpu, kind: int) -> int:
    return _known(gpu.clocks)[kind - 1]


def nvmlDeviceGetPowerUsage(gpu: Gpu) -> int:
    return _known(gpu.milliwatts)


def nvmlDeviceGetCurrentClocksEventReasons(gpu: Gpu) -> int:
    return gpu.reasons.pop(0) if gpu.reasons else 0
