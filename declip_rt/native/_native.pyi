from typing import Annotated, overload

import numpy
from numpy.typing import NDArray

def resample_into(
    rgb: Annotated[NDArray[numpy.uint8], dict(shape=(None, None, None), device="cpu", writable=False)],
    boxes: Annotated[NDArray[numpy.float32], dict(shape=(None, 4), order="C", device="cpu", writable=False)],
    out: Annotated[NDArray[numpy.uint8], dict(shape=(None, None, None, 3), order="C", device="cpu")],
    level: int,
) -> None: ...
def read_jpeg(data: bytes) -> tuple[int, int, bool, int, bytes] | None: ...
@overload
def shrink_luma(
    luma: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), device="cpu", writable=False)],
    factor: int,
    black: float,
    white: float,
    out: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order="C", device="cpu")],
) -> None: ...
@overload
def shrink_luma(
    luma: Annotated[NDArray[numpy.uint16], dict(shape=(None, None), device="cpu", writable=False)],
    factor: int,
    black: float,
    white: float,
    out: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order="C", device="cpu")],
) -> None: ...
def lay_out(
    jobs: Annotated[NDArray[numpy.uint8], dict(shape=(None, 104), order="C", device="cpu")], size: int
) -> tuple[int, int, int]: ...
def ragged(
    jobs: Annotated[NDArray[numpy.uint8], dict(shape=(None, 104), order="C", device="cpu")],
    size: int,
    scratch: Annotated[NDArray[numpy.uint8], dict(order="C", device="cpu")],
    out: Annotated[NDArray[numpy.uint8], dict(order="C", device="cpu")],
) -> None:
    """Does what the kernels do, on the host. Tests call it."""

def job_layout() -> dict[str, int]:
    """The byte offset of each field of a job; `all` is a job's size."""

def fatbin() -> bytes: ...
def best_level() -> int:
    """The index in LEVELS of the best that this machine has."""
