"""Bytes to RGB uint8 pixels."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from declip_rt.errors import ImageError
from declip_rt.images import formats

RGB: TypeAlias = NDArray[np.uint8]  # (H, W, 3)
MAX_PIXELS = 178_956_970  # Pillow's own limit for an error
MOST_PAGES = 100  # of a TIFF that are looked at
MAX_SIDE = 2**23  # pixels; float32 is too coarse for the corners of a crop beyond it
SCRATCH_BYTES = 96 * 2**20  # the most that a thread keeps for pixels
ORIENTATION = 0x0112
SIDEWAYS_TURNS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
TURNS: dict[int, Callable[[RGB], RGB]] = {  # EXIF orientation -> the pixels upright, without a copy
    1: lambda rgb: rgb,
    2: lambda rgb: rgb[:, ::-1],
    3: lambda rgb: rgb[::-1, ::-1],
    4: lambda rgb: rgb[::-1],
    5: lambda rgb: rgb.swapaxes(0, 1),
    6: lambda rgb: rgb[::-1].swapaxes(0, 1),
    7: lambda rgb: rgb[::-1, ::-1].swapaxes(0, 1),
    8: lambda rgb: rgb[:, ::-1].swapaxes(0, 1),
}


@dataclass(frozen=True)
class Decoded:
    """An image's pixels and its full size, both upright. The pixels may be those of a smaller version."""

    rgb: RGB
    width: int
    height: int


class Scratch(threading.local):
    """Memory for pixels, for each thread its own. A thread's next photo overwrites its last."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def of(self, size: int) -> NDArray[np.uint8]:
        """At least `size` bytes."""
        if size > len(self._memory):
            memory = np.empty(size, np.uint8)
            if size > SCRATCH_BYTES:
                return memory
            self._memory = memory
        return self._memory


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> RGB:
    """The first frame of an encoded image, of a TIFF its largest page, upright, as RGB uint8 (H, W, 3).

    EXIF orientation is applied, 16-bit greyscale scaled to 8 bits, and transparency laid over white. The pixel count
    is checked before pixels are allocated. JPEG goes through libjpeg-turbo and gives Pillow's pixels.

    Raises:
        ImageError: empty, not an image, truncated, corrupt, or larger than `max_pixels`.
    """
    return decode_for(data, max_pixels=max_pixels).rgb


def decode_for(
    data: bytes, least: int | None = None, scratch: Scratch | None = None, *, max_pixels: int = MAX_PIXELS
) -> Decoded:
    """Decodes as `decode` does, but smaller or into shared memory where the caller allows it.

    least: the shortest short side that will do, in pixels. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if its
    short side stays as long. scratch: memory for a JPEG's pixels, which the thread's next photo overwrites.
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=formats.READ)
    except Image.DecompressionBombError as error:
        raise ImageError(f"more than {max_pixels:,} pixels; shrink it first") from error
    except UnidentifiedImageError as error:
        raise ImageError(formats.recognised(data) or "not an image, or of a format that is not read") from error
    except Exception as error:
        raise ImageError(f"corrupt header: {error}") from error
    with image:
        if image.width * image.height > max_pixels:
            raise ImageError(f"{image.width}x{image.height} is more than {max_pixels:,} pixels; shrink it first")
        _check_sides(*image.size)
        if formats.is_camera_raw(image):
            raise ImageError(f"camera raw is not read, but its thumbnail: {formats.DEVELOP}")
        _seek(image, max_pixels)
        if image.format in ("JPEG", "MPO") and (rgb := _decode_jpeg(data, image, least, scratch)) is not None:
            turn = _read_turn(image)
            return Decoded(TURNS[turn](rgb), *(image.size[::-1] if turn in SIDEWAYS_TURNS else image.size))
        rgb = from_pil(image)
        return Decoded(rgb, rgb.shape[1], rgb.shape[0])


def _seek(image: Image.Image, max_pixels: int) -> None:
    """Turns to the frame that counts: the largest page of a TIFF, the first of a PNG's animation. Raises ImageError."""
    try:
        if image.format == "TIFF" and getattr(image, "is_animated", False):
            sizes = []
            for page in range(min(image.n_frames, MOST_PAGES)):  # type: ignore[attr-defined]  # a TIFF has it
                image.seek(page)
                sizes.append(image.width * image.height)
            image.seek(sizes.index(max(sizes)))
        elif image.format == "PNG" and getattr(image, "default_image", False):
            image.seek(1)  # the default image is for readers without animation
    except Exception as error:  # Pillow's plugins raise nearly anything on corrupt data
        raise ImageError(f"corrupt or truncated: {error}") from error
    if image.width * image.height > max_pixels:
        raise ImageError(f"{image.width}x{image.height} is more than {max_pixels:,} pixels; shrink it first")
    _check_sides(*image.size)


def from_pil(image: Image.Image) -> RGB:
    """An image of any mode that Pillow has opened, as `decode` returns it. Raises ImageError."""
    _check_sides(*image.size)
    try:
        image.load()
        return np.asarray(_to_rgb(_turn_upright(image)))
    except ImageError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly anything on corrupt data
        raise ImageError(f"corrupt or truncated: {error}") from error


def from_array(array: NDArray[np.uint8]) -> RGB:
    """Checks that the array is RGB uint8 (H, W, 3). Raises ImageError."""
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ImageError(f"an array must be RGB uint8 (H, W, 3); this one is {array.dtype} {array.shape}")
    _check_sides(*array.shape[1::-1])
    return array


def _check_sides(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{width}x{height} has a side of more than {MAX_SIDE:,} pixels; cut it first")


def _decode_jpeg(data: bytes, image: Image.Image, least: int | None, scratch: Scratch | None) -> RGB | None:
    """The JPEG's pixels, not turned upright. None where Pillow must decode it: a CMYK or an irregular JPEG."""
    if image.mode not in ("RGB", "L"):
        return None
    factor = 1
    while least and factor < 8 and min(image.size) // (2 * factor) >= least:
        factor *= 2
    width, height = (-(-side // factor) for side in image.size)
    buffer = scratch.of(3 * width * height) if scratch else None
    try:
        rgb: RGB = simplejpeg.decode_jpeg(
            data, "RGB", min_width=width, min_height=height, min_factor=factor, buffer=buffer, strict=True
        )
    except ValueError:
        return None
    return rgb


def _read_turn(image: Image.Image) -> int:
    """The EXIF orientation: 1 is upright."""
    try:
        turn = image.getexif().get(ORIENTATION, 1)
    except Exception:  # the pixels may be fine though the EXIF block is broken
        return 1
    return turn if turn in TURNS else 1


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError("32-bit integer pixels have no defined white; convert it to 8 or 16 bits")
        return Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined white; convert it to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
