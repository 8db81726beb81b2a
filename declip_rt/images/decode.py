"""Bytes to RGB uint8 pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from declip_rt.errors import ImageError
from declip_rt.images import color, formats, jpeg, raw
from declip_rt.images.jpeg import Header, Scratch
from declip_rt.native import LONGEST

RGB: TypeAlias = NDArray[np.uint8]  # (H, W, 3)
MAX_PIXELS = 2**30
PIXEL_BYTES, JPEG_BYTES = 24, 9  # the most that decoding takes for each pixel: Pillow has copies of modes between
MOST_PAGES = 100  # of a TIFF that are looked at
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


@dataclass(slots=True)
class Decoded:
    """An image's pixels and its full size, both upright. The pixels may be those of a smaller version."""

    rgb: RGB
    width: int
    height: int
    damaged: str = ""  # what the decoder complained of, where the pixels may be fine though
    preview: str = ""  # of a camera's raw file: the size of the preview that is in its place, and the photo's
    profile: bytes = b""  # of pixels that are not in sRGB yet


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> RGB:
    """The first frame of an encoded image, of a TIFF its largest page, upright, as RGB uint8 (H, W, 3).

    EXIF orientation is applied, colors are brought to sRGB, 16-bit greyscale is scaled to 8 bits, and transparency laid
    over white. The pixel count is checked before pixels are allocated. JPEG goes through libjpeg-turbo and gives
    Pillow's pixels.

    Raises:
        ImageError: empty, not an image, truncated, corrupt, of high dynamic range, or larger than `max_pixels`.
    """
    made = Encoded(data, max_pixels).decode()
    return color.rgb_to_srgb(made.rgb, made.profile)


class Encoded:
    """An image whose header was read.

    data: the bytes that are decoded. size: width and height in pixels, as they lie in the file. cost: the most bytes
    that decoding takes.

    Raises:
        ImageError: empty, not an image, of a kind that is not read, or larger than `max_pixels`.
    """

    def __init__(self, data: bytes, max_pixels: int = MAX_PIXELS) -> None:
        if not data:
            raise ImageError("the file is empty")
        self._preview: raw.Preview | None = None
        self._jpeg: Header | None = None  # what of its data is a JPEG
        self._image: Image.Image | None = None  # Pillow's, where it was asked
        self._is_whole = data.endswith(jpeg.END)
        if kind := formats.raw_kind(data):
            self._take_preview(data, kind)
        else:
            self._open(data)
            if self._image and formats.is_camera_raw(self._image):
                self._take_preview(data, "camera raw")
        self._check_size(max_pixels)
        if self._image:
            color.check(self.data, self._image)
            _seek(self._image)
            self._check_size(max_pixels)
        if self._jpeg:
            self._jpeg.check(self.data)

    @property
    def size(self) -> tuple[int, int]:
        if self._image:
            return self._image.size
        assert self._jpeg is not None
        return self._jpeg.width, self._jpeg.height

    @property
    def cost(self) -> int:
        width, height = self.size
        return width * height * (JPEG_BYTES if self._jpeg and self._jpeg.mode == "RGB" else PIXEL_BYTES)

    @property
    def profile(self) -> bytes:
        """A JPEG's ICC profile, where it is not that of sRGB; none of other images, whose pixels are in sRGB."""
        return color.unlike_srgb(self._jpeg.profile) if self._jpeg else b""

    def is_plain(self, icc: bool) -> bool:
        """Whether it is a JPEG that any decoder takes alike: whole, and in sRGB where color profiles count (`icc`)."""
        plain = self._jpeg is not None and self._jpeg.mode == "RGB" and self._is_whole and self._preview is None
        return plain and not (icc and self.profile)

    def _open(self, data: bytes) -> None:
        if data.startswith(formats.JPEG) and not data.endswith(jpeg.END):
            data += jpeg.END  # which some lack though their pixels are whole; others are truncated all the same
        self.data, self._image = data, None
        self._jpeg = jpeg.read_header(data)
        if self._jpeg is not None:
            return
        try:
            self._ask_pillow()
        except ImageError as error:
            if self._preview or not data.startswith(formats.TIFF) or not raw.is_read():
                raise
            try:  # the first page of some raw files are the values of the sensor
                self._take_preview(data, "camera raw")
            except ImageError:
                raise error from None

    def _ask_pillow(self) -> Image.Image:
        """Opens the image by Pillow, which knows all formats, and more of a JPEG's damage."""
        image = self._image = formats.opened(self.data)
        self._jpeg = jpeg.header_of(image) if image.format in ("JPEG", "MPO") else None
        return image

    def _take_preview(self, data: bytes, kind: str) -> None:
        self._preview = raw.preview_of(data, kind)
        self._open(self._preview.data)

    def _check_size(self, max_pixels: int) -> None:
        width, height = self.size
        if width * height > max_pixels:
            raise ImageError(f"{width}x{height} is more than {max_pixels:,} pixels; shrink it first")
        _check_sides(width, height)
        if self._preview and min(width, height) < raw.LEAST:
            raise ImageError(f"camera raw whose preview has {width}x{height} pixels alone: {raw.DEVELOP}")

    def decode(self, least: int | None = None, scratch: Scratch | None = None, *, icc: bool = True) -> Decoded:
        """The pixels, as `decode` gives them, but smaller or in shared memory where the caller allows it.

        Those of a JPEG keep their color space, and its profile: it costs less to convert the views of a large photo.

        least: the shortest short side that will do, in pixels. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if its
        short side stays as long. scratch: memory for a JPEG's pixels, which the thread's next photo overwrites. icc:
        whether color profiles count.
        """
        damaged = ""
        if self._jpeg:
            rgb, damaged = jpeg.pixels_of(self.data, self._jpeg, least, scratch)
            if rgb is not None:
                turn = self._jpeg.turn
                size = self.size[::-1] if turn in SIDEWAYS_TURNS else self.size
                profile = self.profile if icc else b""
                return self._told(Decoded(TURNS[turn](rgb), *size, damaged, profile=profile), turn)
        with self._image or self._ask_pillow() as image:
            turn = jpeg.read_turn(image) if self._preview else 1  # of a PNG it would load the pixels
            rgb = from_pil(image, icc=icc)
        return self._told(Decoded(rgb, rgb.shape[1], rgb.shape[0], damaged), turn)

    def _told(self, made: Decoded, turned: int) -> Decoded:
        """With what is to be said of a preview, and turned as the raw file says where the preview does not."""
        if self._preview is None:
            return made
        turn = self._preview.turn if turned == 1 else 1
        width, height = (made.height, made.width) if turn in SIDEWAYS_TURNS else (made.width, made.height)
        preview = f"{width}x{height} of {self._preview.of}"
        return replace(made, rgb=TURNS[turn](made.rgb), width=width, height=height, preview=preview)


def _seek(image: Image.Image) -> None:
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


def from_pil(image: Image.Image, *, icc: bool = True) -> RGB:
    """An image of any mode that Pillow has opened, as `decode` returns it. Raises ImageError."""
    _check_sides(*image.size)
    try:
        image.load()
        return np.asarray(_to_rgb(_turn_upright(image), icc))
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{image.width}x{image.height} pixels do not fit into the memory that is left") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on corrupt data
        raise ImageError(f"corrupt or truncated: {error}") from error


def from_array(array: NDArray[np.uint8]) -> RGB:
    """Checks that the array is RGB uint8 (H, W, 3). Raises ImageError."""
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ImageError(f"an array must be RGB uint8 (H, W, 3); this one is {array.dtype} {array.shape}")
    _check_sides(*array.shape[1::-1])
    return array


def _check_sides(width: int, height: int) -> None:
    if max(width, height) > LONGEST:
        raise ImageError(f"{width}x{height} has a side of more than {LONGEST:,} pixels; cut it first")


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _to_rgb(image: Image.Image, icc: bool) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError("32-bit integer pixels have no defined white; convert it to 8 or 16 bits")
        grey = Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
        grey.info = {name: value for name, value in image.info.items() if name != "transparency"}
        image = grey
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined white; convert it to 8 or 16 bits")
    if icc:
        image = color.to_srgb(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
