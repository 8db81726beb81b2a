"""Tests that need an NVIDIA GPU, and are skipped without one. `make test` runs them on the simulated one too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Engine, EngineOptions
from declip_rt.backends.cuda.context import Context
from declip_rt.errors import EngineError, Unavailable
from declip_rt.model.bundle import Bundle
from tests.backends.contract import Open

DEVICES = ("tensorrt", "cuda")


@pytest.fixture(scope="session")
def context() -> Context:
    try:
        return Context(0)
    except EngineError as error:
        pytest.skip(f"NOT RUN, no GPU: {error}")


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, context: Context) -> str:
    """Each kind of engine that is installed."""
    return str(request.param)


@pytest.fixture(autouse=True, scope="session")
def _own_plans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECLIP_RT_CACHE", str(tmp_path_factory.mktemp("plans")))
        yield


@pytest.fixture
def reopen(device: str, bundle: Bundle) -> Open:
    def opened() -> Engine:
        try:
            return open_engine(bundle, EngineOptions(device=device, batch=4, lanes=3))
        except Unavailable as error:
            pytest.skip(f"NOT RUN, {device}: {error}")

    return opened


class Frame:
    """RGB uint8 on the GPU, as other libraries hand it over, in any layout of `array`."""

    def __init__(self, context: Context, array: np.ndarray) -> None:
        with context.current():
            self._copy(context, array)

    def _copy(self, context: Context, array: np.ndarray) -> None:
        stream = context.stream()
        base = array.base if isinstance(array.base, np.ndarray) else array
        host, pinned = context.pinned(base.shape)
        host[...] = base
        self.memory = context.memory(base.nbytes, stream)
        pinned.copy_to(self.memory, stream=stream)
        stream.sync()
        offset = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (int(self.memory.handle) + offset, True),
            "strides": array.strides,
            "version": 3,
            "stream": None,
        }
