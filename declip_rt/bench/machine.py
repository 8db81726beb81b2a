"""The machine that a benchmark runs on, and the memory that it took."""

from __future__ import annotations

import os
import platform
import subprocess
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


def gpu_memory() -> float | None:
    """MB that this process holds on GPUs; None where nvidia-smi does not tell, as in most containers."""
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = (line.split(", ") for line in done.stdout.splitlines())
    held = [int(row[1]) for row in rows if row[0] == str(os.getpid()) and row[1].isdigit()]
    return sum(held) * 2**20 / 1e6 if held else None


def _cpu() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
