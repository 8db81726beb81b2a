"""What is installed and found on this machine, and what to install for the rest."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from declip_rt import __version__, native
from declip_rt.backends.cuda import devices
from declip_rt.errors import BundleError
from declip_rt.model.bundle import Bundle, embedded

ENGINES = (  # distribution, module, what it gives, extra
    (("onnxruntime", "onnxruntime-gpu"), "onnxruntime", "ONNX Runtime (cpu, cuda)", "cpu"),
    (("tensorrt", "tensorrt-cu13", "tensorrt-cu12"), "tensorrt", "TensorRT", "tensorrt"),
    (("tensorrt-rtx", "tensorrt-rtx-cu13"), "tensorrt_rtx", "TensorRT for RTX", "rtx"),
    (("cuda-core",), "cuda.core", "CUDA: streams, graphs and kernels", "tensorrt"),
    (("nvidia-nvimgcodec-cu13", "nvidia-nvimgcodec-cu12"), "nvidia.nvimgcodec", "decoding on the GPU", "gpu-decode"),
    (("pyarrow",), "pyarrow", "Parquet output", "parquet"),
    (("tokenizers",), "tokenizers", "own prompts", "prompts"),
    (("ftfy",), "ftfy", "cleaning of own prompts", "prompts"),
    (("scipy",), "scipy", "eval and calibrate", "eval"),
    (("matplotlib",), "matplotlib", "plots of eval", "eval"),
)


def lines() -> Iterator[str]:
    """The report of `declip-rt doctor`, a line at a time."""
    yield f"declip-rt {__version__}, Python {platform.python_version()} ({sys.executable})"
    yield f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores"
    yield ", ".join(f"{name} {version(name)}" for name in ("numpy", "pillow", "msgspec", "tqdm"))
    yield ""
    for distributions, module, what, extra in ENGINES:
        yield f"{what}: {_state(distributions, module, extra)}"
    yield f"resampling: {_resampling()}"
    yield f"CUDA kernels: {'built' if native.fatbin() else 'none; frames on a GPU need an install where nvcc is'}"
    yield f"onnxruntime providers: {', '.join(_providers()) or 'none'}"
    yield f"NVIDIA devices: {', '.join(_gpus()) or 'none found (nvidia-smi lists none)'}"
    yield ""
    for name in embedded():
        yield f"model {name}: {_model(name)}"


def _resampling() -> str:
    level = native.level()
    return f"C++, {level}" if level else "Pillow, slower; install declip-rt where there is a C++ compiler"


def _state(distributions: tuple[str, ...], module: str, extra: str) -> str:
    for name in distributions:
        try:
            found = f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
        try:
            importlib.import_module(module)
        except Exception as error:  # a broken install fails in any way
            return f"{found} is installed but does not import: {error}"
        return found
    return f'not installed; pip install "declip-rt[{extra}]"'


def _providers() -> list[str]:
    try:
        import onnxruntime
    except ImportError:
        return []
    return list(onnxruntime.get_available_providers())


def _gpus() -> list[str]:
    return [f"cuda:{each.index} {each.name}, driver {each.driver}" for each in devices.listed()]


def _model(name: str) -> str:
    try:
        return f"bundle {Bundle(name).hash[:12]}, hashes verified"
    except BundleError as error:
        return str(error)
