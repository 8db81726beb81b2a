"""The GPU path without a GPU: the real cuda.core on a driver that simulates one (driver.cpp), in a process of its own.

Nothing else in such a process may look for a GPU: it would find this one.
"""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from declip_rt.model.bundle import Bundle
from tests.backends.small import small_bundle

HERE = Path(__file__).parent
GIB = 1 << 30
FOREIGN = ctypes.c_void_p(0x9000)  # a context of another library, which is current in the thread of a test


class Span(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_char),
        ("stream", ctypes.c_long),
        ("began", ctypes.c_double),
        ("ended", ctypes.c_double),
    )


@dataclass
class Simulation:
    """The simulated device, in the hands of a test. What others left on it, as one that is lost does, is not its."""

    driver: ctypes.CDLL

    def __post_init__(self) -> None:
        self._before = int(self.driver.sim_used()), int(self.driver.sim_pinned())

    def reset(self, memory: int = GIB, slow: float = 0.0, launches: int = -1) -> None:
        """memory: bytes. slow: seconds that each copy and kernel lasts at least. launches: until the device is lost."""
        self.driver.sim_reset(ctypes.c_size_t(memory + self._before[0]), ctypes.c_double(slow), ctypes.c_long(launches))

    def fail(self, kind: str) -> None:
        """The device is lost by the next copy in (i), kernel (c) or copy out (o)."""
        self.driver.sim_fail(ctypes.c_char(kind.encode()))

    @property
    def used(self) -> int:
        return int(self.driver.sim_used()) - self._before[0]

    @property
    def pinned(self) -> int:
        return int(self.driver.sim_pinned()) - self._before[1]

    @property
    def spans(self) -> list[Span]:
        """What ran: kind is i (copy in), c (compute) or o (copy out); times in seconds."""
        found = (Span * 100_000)()
        return list(found[: self.driver.sim_spans(found, len(found))])

    @property
    def faults(self) -> str:
        return self._text("faults")

    @property
    def launches(self) -> list[str]:
        """The kernels that were queued, each with the rows of its grid, as "declip_weigh 4"; "load" is a library."""
        return self._text("launches").splitlines()

    @property
    def graphs(self) -> int:
        """The CUDA graphs that were launched."""
        return int(self.driver.sim_graphs())

    def _text(self, name: str) -> str:
        text = ctypes.create_string_buffer(100_000)
        getattr(self.driver, f"sim_{name}")(text, ctypes.c_size_t(len(text)))
        return text.value.decode()


def pytest_configure(config: pytest.Config) -> None:
    config.simulated = _built()  # type: ignore[attr-defined]  # before anything imports cuda.core
    sys.path.insert(0, str(HERE))  # for its tensorrt


def _built() -> ctypes.CDLL:
    headers = [path for path in sys.path for path in Path(path).glob("nvidia/cu*/include")]
    made = Path(tempfile.mkdtemp()) / "libcuda.so.1"
    ours = HERE.parents[1] / "declip_rt/native", HERE.parent / "gpu"
    include = [f"-I{path}" for path in (*headers, "/usr/local/cuda/include", *ours)]
    flags = [
        "-std=c++17",
        "-O1",
        "-g",
        "-shared",
        "-fPIC",
        "-fvisibility=hidden",
        "-Wl,-soname,libcuda.so.1",
        "-pthread",
    ]
    subprocess.run(["g++", *flags, *include, str(HERE / "driver.cpp"), "-o", str(made), "-ldl"], check=True)
    for name, folder in (("LD_LIBRARY_PATH", made.parent), ("PYTHONPATH", HERE)):  # for processes that tests start
        os.environ[name] = f"{folder}:{os.environ.get(name, '')}"
    driver = ctypes.CDLL(str(made), mode=ctypes.RTLD_GLOBAL)
    driver.sim_used.restype = driver.sim_pinned.restype = ctypes.c_size_t
    return driver


@pytest.fixture
def gpu(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """A device of 1 GiB, fast and well; the test fails where it was misused, or another's context was replaced."""
    gc.collect()  # what an earlier test left would be freed in the middle of this one, and counted
    request.config.simulated.cuMemPoolTrimTo(None, 0)  # type: ignore[attr-defined]
    simulation = Simulation(request.config.simulated)  # type: ignore[attr-defined]
    simulation.reset()
    simulation.driver.cuCtxSetCurrent(FOREIGN)
    yield simulation
    faults = simulation.faults
    simulation.reset()  # a lost device is no later test's
    assert faults == ""
    current = ctypes.c_void_p()
    simulation.driver.cuCtxGetCurrent(ctypes.byref(current))
    assert current.value == FOREIGN.value, "the caller's context is no longer current"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(autouse=True)
def _own_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import tensorrt

    monkeypatch.setenv("DECLIP_RT_CACHE", str(tmp_path / "plans"))
    yield
    tensorrt.faults.clear()


def pixels(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
