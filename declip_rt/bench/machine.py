"""The machine that a benchmark runs on, and the memory that it took."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from declip_rt.backends.cuda import devices
from declip_rt.stats import cores

LIBRARIES = ("declip-rt", "numpy", "onnxruntime", "openvino", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu13")


class Machine(msgspec.Struct, frozen=True):
    """cores: that the process may use. load: the average of the minute before. gpus: name and driver."""

    cpu: str
    cores: int
    load: float | None
    gpus: tuple[str, ...]
    system: str
    libraries: dict[str, str]  # name -> version

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} cores"

    @staticmethod
    def here(*more: str) -> Machine:
        """This machine. more: libraries whose versions are told beside LIBRARIES, where they are installed."""
        found = {"Python": platform.python_version()}
        for name in (*LIBRARIES, *more):
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
        gpus = tuple(f"{each.name} (driver {each.driver})" for each in devices.list_devices())
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        return Machine(_cpu(), cores(), load, gpus, f"{platform.system()} {platform.machine()}", found)


def peak_memory() -> float | None:
    """MB (10**6 bytes) that this process has held at once; None where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):  # getrusage would count the process that started this one, too
            return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _cpu() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
