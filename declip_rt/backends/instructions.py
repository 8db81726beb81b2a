"""What this CPU multiplies fast."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

INFO = Path("/proc/cpuinfo")
LINES = ("model name", "flags", "Features")  # the last on arm64
VNNI = {"avx512_vnni", "avx_vnni"}
AMX = "amx_bf16"


@cache
def flags() -> frozenset[str]:
    """The CPU's name and its instruction sets, as Linux lists them; none on other systems."""
    try:
        lines = INFO.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(word for line in lines if line.startswith(LINES) for word in line.split())


def multiplies_8_bits() -> bool:
    """Whether this CPU adds up 8-bit products in 32 bits, as INT8 graphs need. Older x86 ones do it in 16 bits."""
    return platform.machine().lower() not in ("x86_64", "amd64") or has_vnni()


def has_vnni() -> bool:
    """Whether this is an x86 CPU that multiplies 8-bit numbers faster than FP32."""
    return not VNNI.isdisjoint(flags())


def gains_from_bf16() -> bool:
    """Whether this CPU multiplies bf16 faster than FP32: by AMX. AVX512_BF16 alone is slower in OpenVINO."""
    return AMX in flags()
