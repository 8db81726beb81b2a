"""Loads any kind of image and writes its views into a lane's slot."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from declip_rt.errors import ImageError
from declip_rt.images import color, decode, sources
from declip_rt.images.decode import Decoded, Encoded
from declip_rt.images.jpeg import Scratch
from declip_rt.images.memory import Budget, allowance
from declip_rt.images.views import least_side, write_views
from declip_rt.model.manifest import ViewSpec
from declip_rt.stats import Stats
from declip_rt.workers import if_given_up, standing

SMALL = 128 * 2**20  # bytes that each worker may use without asking
CUDA = 2  # DLPack's number for CUDA devices
ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[np.uint8] | Image.Image | Frame | OnStream"
DecodeScale: TypeAlias = Literal["full", "auto"]


class Frame(Protocol):
    """An array of torch, CuPy, PyNvVideoCodec or another library, on the host or on a GPU.

    An array that has only `__cuda_array_interface__` will do as well.
    """

    def __dlpack__(self) -> object: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...


@dataclass(frozen=True, slots=True)
class OnStream:
    """A frame on a GPU, and the CUDA stream that writes it: its score waits for what is queued there now.

    frame: as Frame. stream: its address as an integer, or a stream of torch, CuPy, pycuda, numba, cuda.core, or what
    else has `__cuda_stream__`.
    """

    frame: Any
    stream: Any


class Slot(Protocol):
    """A place in a lane for one image."""

    @property
    def memory(self) -> NDArray[np.uint8]:
        """Memory for the image's views: (V, S, S, 3)."""

    def put(self, frame: object) -> tuple[int, int]:
        """Takes a frame on the GPU in place of views. Returns its width and height in pixels."""


@dataclass(slots=True)
class Facts:
    """An image's size in pixels, and its file's size (bytes) and modification time. None stands for no file."""

    width: int
    height: int
    size: int | None = None
    mtime_ns: int | None = None
    damaged: str = ""  # what the decoder complained of
    preview: str = ""  # of a camera's raw file: the size of what was scored in its place, and its own


@dataclass(frozen=True, slots=True)
class Seen:
    """The views (V, S, S, 3) of an image whose pixels are gone, and its size in pixels."""

    views: NDArray[np.uint8]
    width: int
    height: int
    damaged: str
    preview: str


@dataclass(slots=True)
class Loaded:
    """An image's pixels, its frame on the GPU, or its views; and its file's size and modification time, if any."""

    pixels: Decoded | Frame | Seen
    size: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """An image that could not be taken from its owner."""

    error: ImageError


class Loader:
    """Loads images and places their views. Threads may share it.

    Args:
        views: what the model sees.
        stats: counts the seconds of each stage.
        decode_scale: auto decodes large JPEGs at 1/2, 1/4 or 1/8 of their size where the views need no more.
        budget: the memory that images of many pixels share; None is what the process may use of it.
        icc: whether color profiles count.
        strict: whether an image whose decoder complained is an error.
        on_gpu: decodes a JPEG to a frame on the GPU. It returns None for one that the CPU must decode.
    """

    def __init__(
        self,
        views: ViewSpec,
        stats: Stats,
        decode_scale: DecodeScale = "full",
        budget: Budget | None = None,
        *,
        icc: bool = True,
        strict: bool = False,
        on_gpu: Callable[[Encoded], Frame | None] | None = None,
    ) -> None:
        self._views, self._stats, self._on_gpu = views, stats, on_gpu
        self._budget, self._icc, self._strict = budget or Budget(allowance()), icc, strict
        self._least = least_side(views) if decode_scale == "auto" else None
        self._scratch = Scratch()

    def cut(self, rgb: NDArray[np.uint8]) -> Seen:
        """The views of RGB uint8 (H, W, 3), which are scored as it is; for who has more pictures than memory."""
        views = np.empty(self._views.shape, np.uint8)
        with self._stats.timed("views"):
            write_views(rgb, self._views, views)
        return Seen(views, rgb.shape[1], rgb.shape[0], "", "")

    def own(self, image: ImageLike | Seen) -> ImageLike | Seen | Broken:
        """The image as it is now, for as long as it is needed: what its owner could refill, seek or close is copied.

        A path, bytes and a frame on a GPU are taken as they are.
        """
        if isinstance(image, (str, os.PathLike, bytes, Seen)):
            return image
        try:
            if isinstance(image, (bytearray, memoryview)):
                return bytes(image)
            if isinstance(image, Image.Image):
                return decode.from_pil(image, icc=self._icc)  # made anew; two threads must not load one image
            if isinstance(image, np.ndarray):
                return np.array(decode.from_array(image))
            if hasattr(image, "__dlpack__") and not is_on_gpu(image):
                return np.array(_from_dlpack(image))
        except ImageError as error:
            return Broken(error)
        return image

    def load(self, image: ImageLike | Seen | Broken) -> Loaded:
        """Reads and decodes an image. Raises ImageError."""
        if isinstance(image, Broken):
            raise image.error
        if isinstance(image, Seen):
            return Loaded(image)
        if not isinstance(image, (str, os.PathLike)):
            with self._stats.timed("decode"):
                return Loaded(self._decode(image))
        with self._stats.timed("read"):
            content = sources.read(image, self._budget.most)
        with self._stats.timed("decode"):
            return Loaded(self._decode(content.data), content.size, content.mtime_ns)

    def close(self) -> None:
        """Frees the decoder on a GPU."""
        self._on_gpu = None

    def place(self, loaded: Loaded, slot: Slot) -> Facts:
        """Writes the image's views into the slot. Raises ImageError."""
        with self._stats.timed("views"):
            pixels = loaded.pixels
            if isinstance(pixels, Decoded):
                self._write(pixels, slot.memory)
            elif isinstance(pixels, Seen):
                slot.memory[:] = pixels.views
            else:
                return Facts(*slot.put(pixels), loaded.size, loaded.mtime_ns)
        size = {"size": loaded.size, "mtime_ns": loaded.mtime_ns}
        return Facts(pixels.width, pixels.height, damaged=pixels.damaged, preview=pixels.preview, **size)

    def _decode(self, image: Any) -> Decoded | Frame | Seen:
        if isinstance(image, (bytes, bytearray, memoryview)):
            encoded = Encoded(bytes(image))
            frame = self._decode_on_gpu(encoded)
            return self._decode_on_cpu(encoded) if frame is None else frame
        if isinstance(image, Image.Image):
            rgb = decode.from_pil(image, icc=self._icc)
        elif isinstance(image, np.ndarray):
            rgb = decode.from_array(image)
        elif is_on_gpu(image):
            on_gpu: Frame = image
            return on_gpu
        elif hasattr(image, "__dlpack__"):
            rgb = _from_dlpack(image)
        else:
            raise ImageError(
                f"cannot score a {type(image).__name__}; give a path, bytes, a Pillow image, or RGB uint8 (H, W, 3) "
                "of NumPy, torch, CuPy or the like"
            )
        return Decoded(rgb, rgb.shape[1], rgb.shape[0])

    def _decode_on_gpu(self, encoded: Encoded) -> Frame | None:
        """A frame where a GPU decodes, and the image is one that it can decode."""
        if self._on_gpu is None:
            return None
        frame = self._on_gpu(encoded) if encoded.is_plain(self._icc) else None
        self._stats.count("decoded on the CPU" if frame is None else "decoded on the GPU")
        return frame

    def _decode_on_cpu(self, encoded: Encoded) -> Decoded | Seen:
        if encoded.cost <= SMALL:
            return self._checked(encoded)
        with ExitStack() as borrowed:
            with standing():
                what = "x".join(map(str, encoded.size))
                give_up = borrowed.enter_context(self._budget.lent(encoded.cost, what))
            if_given_up(give_up)
            # Pixels that waited for their turn in a lane would hold what an image before them needs.
            whole = self._checked(encoded)
            views = np.empty(self._views.shape, np.uint8)
            self._write(whole, views)
            return Seen(views, whole.width, whole.height, whole.damaged, whole.preview)

    def _write(self, whole: Decoded, views: NDArray[np.uint8]) -> None:
        """Writes the image's views, in sRGB."""
        write_views(whole.rgb, self._views, views)
        if whole.profile:
            flat = views.reshape(-1, *views.shape[2:])
            views[:] = color.rgb_to_srgb(flat, whole.profile).reshape(views.shape)

    def _checked(self, encoded: Encoded) -> Decoded:
        made = encoded.decode(self._least, self._scratch, icc=self._icc)
        if made.damaged and self._strict:
            raise ImageError(f"damaged: {made.damaged}")
        return made


def is_on_gpu(image: Any) -> bool:
    """Whether an image is a frame in a GPU's memory."""
    if isinstance(image, OnStream):
        return True
    if hasattr(image, "__dlpack_device__"):
        try:
            return bool(image.__dlpack_device__()[0] == CUDA)
        except Exception:  # it has no memory that others may read, which loading it will say
            return False
    return hasattr(image, "__cuda_array_interface__")


def is_one(images: Any) -> bool:
    """Whether a caller gave one image in place of an iterable of images."""
    if isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, OnStream)):
        return True
    if hasattr(images, "__cuda_array_interface__"):
        return len(images.__cuda_array_interface__["shape"]) < 4
    return getattr(images, "ndim", None) in (2, 3)


def _from_dlpack(image: Any) -> NDArray[np.uint8]:
    try:
        array: Any = np.from_dlpack(image)
    except Exception as error:  # each library raises its own for a type that NumPy lacks
        raise ImageError(f"cannot read a {type(image).__name__}: {error}") from error
    return decode.from_array(array)
