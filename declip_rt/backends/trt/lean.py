"""The lean runtime of a version of TensorRT. It runs plans that are compatible with later versions."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

PACKAGES = ("tensorrt-lean-cu13-libs", "tensorrt-lean-cu12-libs")  # one of them may stand beside any TensorRT


def find_library(version: str) -> Path | None:
    """The shared library of the lean runtime of exactly this version (11.0.0.114). None where it is not installed."""
    for name in PACKAGES:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        if found.version == version:
            files = (Path(str(found.locate_file(file))) for file in found.files or ())
            return next((file for file in files if "nvinfer_lean" in file.name), None)
    return None


def remedy(version: str) -> str:
    return f"pip install {PACKAGES[0]}=={version}"


def is_later(version: str, than: str) -> bool:
    """Whether a version of TensorRT is the later one. A later one loads the lean runtime of an earlier one."""
    return _parts(version) > _parts(than)


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdecimal()]
