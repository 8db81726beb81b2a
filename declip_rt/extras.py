"""The optional libraries: imported in one place, which names the extra to install."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from types import ModuleType

from declip_rt.errors import Unavailable

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime sends usage data otherwise


@dataclass(frozen=True)
class Extra:
    """An optional library.

    module: what is imported. gives: what it is for. names: of the extras that bring it, the usual one first.
    distributions: the packages that may hold it. without: modules that it is imported without, as they send data.
    """

    module: str
    gives: str
    names: tuple[str, ...]
    distributions: tuple[str, ...]
    without: tuple[str, ...] = ()

    @property
    def remedy(self) -> str:
        return " or ".join(f'pip install "declip-rt[{name}]"' for name in self.names)


EXTRAS = (
    Extra("onnxruntime", "ONNX Runtime (cpu, cuda)", ("cpu", "cuda"), ("onnxruntime", "onnxruntime-gpu")),
    Extra("openvino", "OpenVINO", ("openvino",), ("openvino",), without=("openvino_telemetry",)),
    Extra("tensorrt", "TensorRT", ("tensorrt",), ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")),
    Extra("tensorrt_rtx", "TensorRT for RTX", ("rtx",), ("tensorrt-rtx", "tensorrt-rtx-cu13")),
    Extra("cuda.core", "CUDA: streams, graphs and kernels", ("tensorrt", "rtx", "cuda"), ("cuda-core",)),
    Extra("pynvml", "NVML: GPUs and what they do", ("tensorrt", "rtx", "cuda"), ("nvidia-ml-py",)),
    Extra(
        "nvidia.nvimgcodec",
        "decoding on the GPU",
        ("gpu-decode",),
        ("nvidia-nvimgcodec-cu13", "nvidia-nvimgcodec-cu12"),
    ),
    Extra("pyarrow", "Parquet output", ("parquet",), ("pyarrow",)),
    Extra("pillow_heif", "HEIC photos", ("photos",), ("pillow-heif",)),
    Extra("rawpy", "previews of camera raw", ("photos",), ("rawpy",)),
    Extra("tokenizers", "own prompts", ("prompts",), ("tokenizers",)),
    Extra("ftfy", "cleaning of own prompts", ("prompts",), ("ftfy",)),
    Extra("scipy", "eval and calibrate", ("eval",), ("scipy",)),
    Extra("matplotlib", "plots", ("eval", "bench"), ("matplotlib",)),
    Extra("av", "video", ("video",), ("av",)),
    Extra("nvtx", "ranges in Nsight Systems", ("profile",), ("nvtx",)),
    Extra("onnx", "counting FLOPs", ("bench",), ("onnx",)),
)


def own_version() -> str:
    """That of declip-rt."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("declip-rt")
    except PackageNotFoundError:  # a checkout that is not installed
        return "unknown"


def load(module: str) -> ModuleType:
    """Imports one of EXTRAS, or a module in it, such as `scipy.stats`.

    Raises Unavailable, with the extra to install, where that fails.
    """
    extra = next(each for each in EXTRAS if f"{module}.".startswith(f"{each.module}."))
    for unwanted in extra.without:
        sys.modules.setdefault(unwanted, None)  # type: ignore[arg-type]  # its import then fails, as if it were not there
    try:
        return importlib.import_module(module)
    except Exception as error:  # a missing CUDA library is an OSError or a RuntimeError
        what = f"{extra.gives}: {extra.module} cannot be imported ({error}); {extra.remedy}"
        raise Unavailable(what, name=extra.module) from error
