"""`declip-rt doctor`: what is installed and found on this machine, and what to install for the rest."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from declip_rt import __version__, native
from declip_rt.backends.cuda import devices
from declip_rt.errors import BundleError, Unavailable
from declip_rt.extras import EXTRAS, Extra, load
from declip_rt.model.bundle import Bundle, embedded


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
    yield f"CUDA kernels: {'built' if native.fatbin() else 'none; frames on a GPU need an install where nvcc is'}"
    yield f"onnxruntime providers: {', '.join(_providers()) or 'none'}"
    yield f"NVIDIA devices: {_gpus()}"
    yield ""
    for name in embedded():
        yield f"model {name}: {_model(name)}"


def _resampling() -> str:
    level = native.level()
    return f"C++, {level}" if level else "Pillow, slower; install declip-rt where there is a C++ compiler"


def _state(extra: Extra) -> str:
    for name in extra.distributions:
        try:
            found = f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
        try:
            load(extra.module)
        except Unavailable as error:
            return f"{found} is installed but does not import: {error.__cause__}"
        return found
    return f"not installed; {extra.remedy}"


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
