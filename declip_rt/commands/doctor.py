"""`declip-rt doctor`: what is installed and found on this machine, and what to install for the rest."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from declip_rt import __version__, native
from declip_rt.backends.cuda import devices
from declip_rt.backends.onnxrt.session import CUDA
from declip_rt.commands import probes
from declip_rt.commands.probes import Answer
from declip_rt.errors import BundleError, Unavailable
from declip_rt.extras import EXTRAS, Extra, load
from declip_rt.model.bundle import Bundle, embedded

HEAVY = ("tensorrt", "tensorrt_rtx", "nvidia.nvimgcodec")  # modules that may crash, print or hang
OLDEST = {12: 525, 13: 580}  # the driver that each CUDA needs
ELF, NEW_ELF = b"\x7fELF", 8  # a kernel's header; the version in its byte 8 that nvcc 13 brought


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=run)


def run(_: argparse.Namespace) -> int:
    for line in lines():
        print(line)
    return 0


def lines() -> Iterator[str]:
    """The report of `declip-rt doctor`, a line at a time."""
    yield f"declip-rt {__version__}, Python {platform.python_version()} ({sys.executable})"
    yield f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores"
    yield ", ".join(f"{name} {version(name)}" for name in ("numpy", "pillow", "msgspec", "tqdm"))
    yield ""
    for extra in EXTRAS:
        yield f"{extra.gives}: {_state(extra)}"
    yield f"resampling: {_resampling()}"
    yield f"onnxruntime providers: {', '.join(_providers()) or 'none'}"
    yield f"NVIDIA devices: {_gpus()}"
    yield from _cuda(probes.ask("driver"))
    yield ""
    for name in embedded():
        yield f"model {name}: {_model(name)}"


def _resampling() -> str:
    level = native.level()
    return f"C++, {level}" if level else "Pillow, slower; install declip-rt where there is a C++ compiler"


def _state(extra: Extra) -> str:
    found = _found(extra)
    if not found:
        return f"not installed; {extra.remedy}"
    error = _import_error(extra.module)
    return f"{found} is installed but does not import: {error}" if error else found


def _found(extra: Extra) -> str | None:
    """The name and version of the package that holds it."""
    for name in extra.distributions:
        with suppress(PackageNotFoundError):
            return f"{name} {version(name)}"
    return None


def _import_error(module: str) -> object:
    if module in HEAVY:
        return probes.ask("imports", module).error
    try:
        load(module)
    except Unavailable as error:
        return error.__cause__
    return None


def _cuda(driver: Answer) -> Iterator[str]:
    """What works of CUDA. driver: the answer of probes.driver."""
    found = driver.found or {"version": 0, "names": [], "failure": None}
    gpus = found["names"]
    yield f"CUDA driver: {_said(driver) if driver.error else _driver(**found)}"
    for index, name in enumerate(gpus):
        if " MIG " in name:
            yield f"MIG: cuda:{index} is a part of a GPU, {name}; nvidia-smi shows how busy the whole GPU is"
    if os.environ.get("CUDA_MODULE_LOADING") == "EAGER":
        yield "CUDA_MODULE_LOADING=EAGER: all kernels of all libraries are loaded at the start; unset it to save memory"
    yield f"CUDA kernels: {_kernels(found['version'], bool(gpus))}"
    on = ["0"] if gpus else []
    installed = [each.module for each in EXTRAS if _found(each)]
    if CUDA in _providers():
        yield f"CUDA provider of ONNX Runtime: {_said(probes.ask('provider', *on))}"
        yield f"cuDNN: {_said(probes.ask('cudnn'))}"
    if "nvidia.nvimgcodec" in installed:
        yield f"nvJPEG: {_said(probes.ask('nvjpeg', *on))}"
    for module in ("tensorrt", "tensorrt_rtx"):
        if module in installed and gpus:
            yield f"builder of {module}: {_said(probes.ask('builder', module))}"
    if not gpus:
        yield "without a GPU nothing was run on one, no JPEG decoded, and no builder or kernel started"


def _driver(version: int, names: list[str], failure: str | None) -> str:
    said = f"up to CUDA {version // 1000}.{version % 1000 // 10}, "
    said += ", ".join(names) if names else f"no GPU that CUDA sees ({failure})"
    if devices.list_devices() and not names:
        said += "; look at CUDA_VISIBLE_DEVICES, and whether a GPU in MIG mode has an instance: nvidia-smi mig -lgi"
    return said + _bindings(version // 1000)


def _bindings(cuda: int) -> str:
    """What cuda-bindings need beside the driver's CUDA."""
    try:
        found = version("cuda-bindings")
    except PackageNotFoundError:
        return ""
    needed = int(found.split(".")[0])
    said = f"; cuda-bindings {found} are for CUDA {needed}"
    if needed <= cuda:
        return said
    return f'{said}: install a driver from {OLDEST.get(needed, "a later version")} on, or "cuda-bindings<{needed}"'


def _kernels(cuda: int, has_gpu: bool) -> str:
    fatbin = native.fatbin()
    if not fatbin:
        return "none; frames on a GPU need an install where nvcc is"
    if 0 < cuda < 13000 and fatbin[fatbin.find(ELF) + len(ELF) + 4] >= NEW_ELF:
        return f"built by nvcc 13, for drivers from {OLDEST[13]} on; install declip-rt again with nvcc 12 on the PATH"
    return f"built, {_said(probes.ask('kernels'))}" if has_gpu else "built"


def _said(answer: Answer) -> str:
    return f"does not work: {answer.error}" if answer.error else str(answer.found)


def _providers() -> list[str]:
    try:
        import onnxruntime
    except ImportError:
        return []
    return list(onnxruntime.get_available_providers())


def _gpus() -> str:
    try:
        devices.nvml()
    except Unavailable as error:
        return f"none found ({error})"
    found = [f"cuda:{each.index} {each.name}, driver {each.driver}" for each in devices.list_devices()]
    return ", ".join(found) or "none found (NVML lists none)"


def _model(name: str) -> str:
    try:
        bundle = Bundle(name)
        calibration = bundle.manifest.calibration
        against = f"; percentiles against {calibration.reference}" if calibration and calibration.percentiles else ""
        return f"bundle {bundle.hash[:12]}, hashes verified{against}"
    except BundleError as error:
        return str(error)
