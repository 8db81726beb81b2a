"""The NVIDIA GPUs of this machine, as nvidia-smi names them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    index: int
    name: str
    capability: str  # 8.9
    driver: str


def list_devices() -> list[Gpu]:
    """The GPUs by their index. Empty where there is no driver."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split(", ") for line in done.stdout.splitlines()]
    return [Gpu(i, *row) for i, row in enumerate(row for row in rows if len(row) == 3)]
