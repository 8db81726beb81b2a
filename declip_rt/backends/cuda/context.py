"""The one place that opens CUDA. It uses NVIDIA's cuda.core, whose wheels need no compiler."""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from declip_rt.backends.cuda.kernels import ViewKernels
from declip_rt.errors import DeclipError, EngineError, OutOfMemory, Unavailable
from declip_rt.extras import load

ALIGNMENT = 256  # bytes; TensorRT takes only addresses that are multiples of it
SHORT = re.compile("out.?of.?memory|failed to allocate", re.IGNORECASE)  # as CUDA and its libraries say it


def address_of(stream: Any) -> int:
    """A CUDA stream's address, of an integer or a stream of any library. Raises TypeError for anything else."""
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    named = (getattr(stream, name) for name in ("cuda_stream", "ptr", "handle") if hasattr(stream, name))
    found = next(named, stream)  # of torch, CuPy, or numba and pycuda
    found = getattr(found, "value", found)  # numba's is of ctypes, where 0 is None
    if found is None or isinstance(found, int):
        return found or 0
    raise TypeError(f"a {type(stream).__name__} is no CUDA stream; give its address, or one with __cuda_stream__")


def count() -> int:
    """The number of GPUs. Raises Unavailable, and EngineError where CUDA cannot be used."""
    try:
        return len(load("cuda.core").Device.get_all_devices())
    except Unavailable:
        raise
    except Exception as error:  # no driver, or one that is too old for cuda.bindings: each fails in its own way
        raise EngineError(
            f"CUDA cannot be used: {error}; check that nvidia-smi runs, and that its driver is new enough: "
            "at least 580 for CUDA 13, or install cuda-bindings 12 for an older one"
        ) from error


class Context:
    """A GPU's primary context. torch, ONNX Runtime and TensorRT use it, too, in the same process.

    Each method makes it current for as long as it takes, and then the context again that the caller had.

    Raises:
        Unavailable: cuda.core is not installed.
        EngineError: the driver or the device is missing; the message says which.
    """

    def __init__(self, index: int) -> None:
        self._core, self._utils = load("cuda.core"), load("cuda.core.utils")
        self.index = index
        if index >= (found := count()):
            raise EngineError(f"there is no device {index}: CUDA sees {found}; nvidia-smi lists those there are")
        with self.guarded("cannot open the device"):
            device = self._core.Device(index)
            self.name: str = device.name
            self.capability = "{}.{}".format(*device.compute_capability)
            self.target = "sm" + self.capability.replace(".", "")  # as TensorRT for RTX names it

    @contextmanager
    def current(self) -> Iterator[None]:
        """Makes the context current in this thread, and then the one again that was."""
        from cuda.bindings import driver

        _, before = driver.cuCtxGetCurrent()
        self._core.Device(self.index).set_current()
        try:
            yield
        finally:
            driver.cuCtxSetCurrent(before)

    def stream(self) -> Any:
        """A cuda.core.Stream that does not wait for the default stream."""
        with self.guarded("no stream"):
            return self._core.Device(self.index).create_stream()

    def event(self) -> Any:
        """A cuda.core.Event that measures time. Threads that wait for it sleep: decoders want the cores."""
        options = self._core.EventOptions(timing_enabled=True, blocking_sync=True)
        with self.guarded("no event"):
            return self._core.Device(self.index).create_event(options)

    def memory(self, size: int, stream: Any) -> Any:
        """A cuda.core.Buffer of `size` bytes on the GPU. Raises OutOfMemory."""
        with self.guarded(f"no room for {size / 2**20:.0f} MiB more"):
            return self._core.Device(self.index).allocate(size, stream=stream)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> tuple[NDArray[Any], Any]:
        """Pinned host memory: an array of zeros, and its cuda.core.Buffer, which must outlive the array.

        The GPU copies from and to it by itself.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        with self.guarded(f"no {size / 2**20:.0f} MiB of pinned host memory"):
            buffer = self._core.LegacyPinnedMemoryResource().allocate(size)
        memory: Any = (ctypes.c_uint8 * size).from_address(int(buffer.handle))  # DLPack would take it for a GPU's
        array = np.frombuffer(memory, dtype).reshape(shape)
        array[...] = 0
        return array, buffer

    @cached_property
    def view_kernels(self) -> ViewKernels:
        """The kernels that cut views, which all lanes share. To be called in the context."""
        return ViewKernels()

    def part(self, buffer: Any, offset: int, size: int) -> Any:
        """A cuda.core.Buffer of `size` bytes of `buffer`, which must outlive it."""
        return self._core.Buffer.from_handle(int(buffer.handle) + offset, size)

    def view(self, image: object, stream: Any, writer: object = None) -> Any:
        """A cuda.core StridedMemoryView of an array on the GPU. `stream` waits until its producer has written it.

        writer: the producer's stream; None is the one that the array names. One that names none, as pycuda's, is
        written on the legacy default stream, for which ours do not wait by themselves. To be called in the context.

        Raises TypeError for what is no stream, ValueError for memory of another context or device.
        """
        facts = getattr(image, "__cuda_array_interface__", {})
        if facts:  # before anything is queued on streams of two contexts
            self._check_owner(facts["data"][0])
        elif hasattr(image, "__dlpack_device__") and image.__dlpack_device__()[1] != self.index:
            raise ValueError(self._elsewhere(image.__dlpack_device__()[1]))
        if writer is not None:
            stream.wait(self._stream_at(address_of(writer)))
        elif not hasattr(image, "__dlpack__") and facts.get("stream") is None:
            stream.wait(self._core.LEGACY_DEFAULT_STREAM)
        view = self._utils.StridedMemoryView.from_any_interface(image, stream_ptr=int(stream.handle))
        if not facts and view.is_device_accessible:
            self._check_owner(view.ptr)
        return view

    def _elsewhere(self, device: int) -> str:
        return f"the frame is on device {device}, and the scorer on cuda:{self.index}; copy it there"

    def _stream_at(self, address: int) -> Any:
        if address in (0, 1):
            return self._core.LEGACY_DEFAULT_STREAM
        return self._core.PER_THREAD_DEFAULT_STREAM if address == 2 else self._core.Stream.from_handle(address)

    def _check_owner(self, pointer: int) -> None:
        """Raises ValueError for memory of another device, or of another context. Memory of a pool is of no context."""
        from cuda.bindings import driver

        names = driver.CUpointer_attribute
        status, device = driver.cuPointerGetAttribute(names.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, pointer)
        if int(status) == 0 and int(device) >= 0 and int(device) != self.index:
            raise ValueError(self._elsewhere(int(device)))
        status, owner = driver.cuPointerGetAttribute(names.CU_POINTER_ATTRIBUTE_CONTEXT, pointer)
        _, ours = driver.cuCtxGetCurrent()
        if int(status) == 0 and int(owner or 0) not in (0, int(ours)):
            raise ValueError(
                "it was made in another CUDA context, whose memory this one cannot read: with pycuda, "
                "import pycuda.autoprimaryctx in place of pycuda.autoinit, or copy it to the host"
            )

    def is_well(self, stream: Any) -> bool:
        """Whether the device still works. An error of CUDA that it does not survive comes up in each later call."""
        from cuda.bindings import driver

        with self.current():
            (status,) = driver.cuStreamQuery(int(stream.handle))
        return status in (driver.CUresult.CUDA_SUCCESS, driver.CUresult.CUDA_ERROR_NOT_READY)

    def free(self) -> tuple[int, int]:
        """The free bytes and all bytes of the GPU's memory."""
        from cuda.bindings import driver

        with self.current():
            _, free, total = driver.cuMemGetInfo()
        return int(free), int(total)

    def _room(self) -> str:
        try:
            free, total = self.free()
        except Exception:  # there may be no room for a context
            return "the GPU is full"
        return f"{free / 2**20:.0f} of {total / 2**20:.0f} MiB are free"

    def trim(self) -> None:
        """Gives the memory back to the device that buffers have left in the process's pool."""
        from cuda.bindings import driver

        status, pool = driver.cuDeviceGetMemPool(self.index)
        if int(status) == 0:  # else the device has no pools
            driver.cuMemPoolTrimTo(pool, 0)

    @contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """Makes the context current, and turns errors of CUDA and its libraries into EngineErrors with a remedy."""
        try:
            with self.current():
                yield
        except Exception as error:  # cuda.core's own CUDAError is not public
            is_short = SHORT.search(str(error))
            if isinstance(error, DeclipError) and not (is_short and type(error) is EngineError):
                raise
            if is_short:
                raise OutOfMemory(
                    f"cuda:{self.index}: {what}: {self._room()}; "
                    "take a smaller `batch` or fewer `lanes`, or end what else runs there (nvidia-smi)"
                ) from error
            raise EngineError(
                f"cuda:{self.index}: {what}: {error}; the device may be lost: start again, and look for Xid in dmesg"
            ) from error
