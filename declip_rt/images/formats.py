"""Which formats are decoded, and what others are called, so that their error says what to do."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

from PIL import Image

from declip_rt import extras
from declip_rt.errors import ImageError, Unavailable

READ = (  # by Pillow, in the order of its trials; no other of its plugins is asked: some start programs
    *("JPEG", "PNG", "GIF", "BMP", "PPM"),  # those that Pillow has at hand without importing all its plugins
    *("AVIF", "DDS", "DIB", "ICO", "JPEG2000", "PCX", "QOI", "SGI", "TIFF", "WEBP"),
    "TGA",  # which has no signature
)
CONVERT = "convert it to JPEG or PNG first"
SUBFILE, MAKE, DNG = 254, 271, 50706  # TIFF tags
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG = b"\xff\xd8"
PNG = b"\x89PNG\r\n\x1a\n"
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")  # brands
RAWS = (  # where, what, the format's name; other raw files look like TIFFs
    (4, b"ftypcrx ", "camera raw (CR3)"),
    (8, b"CR\x02\0", "camera raw (CR2)"),
    (0, b"FUJIFILMCCD-RAW", "camera raw (RAF)"),
    *((0, mark, "camera raw (ORF)") for mark in (b"IIRO", b"IIRS", b"MMOR")),
    (0, b"IIU\0", "camera raw (RW2)"),
)
SIGNATURES = (  # where, what, the format's name, what to do
    (0, b"\xff\x0a", "JPEG XL", CONVERT),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL", CONVERT),
    *((4, b"ftyp" + brand, "HEIC", f'pip install "declip-rt[photos]", or {CONVERT}') for brand in HEIC),
    (4, b"ftyp", "a film (MP4)", "give its frames"),
    (8, b"AVI ", "a film (AVI)", "give its frames"),
    (0, b"\x1aE\xdf\xa3", "a film (Matroska)", "give its frames"),
    (0, b"8BPS", "Photoshop (PSD)", CONVERT),
    (0, b"v/1\x01", "OpenEXR", CONVERT),
    (0, b"#?RADIANCE", "Radiance HDR", CONVERT),
    (0, b"%PDF", "PDF", CONVERT),
    (0, b"%!PS", "PostScript", CONVERT),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript", CONVERT),
    (0, b"<svg", "SVG", CONVERT),
    (0, b"<?xml", "XML, perhaps SVG", CONVERT),
    (0, b"<!DOCTYPE", "a web page", "fetch the image itself"),
    (0, b"<html", "a web page", "fetch the image itself"),
    (0, b"PK\x03\x04", "an archive (ZIP)", "unpack it first"),
    (0, b"\x1f\x8b", "an archive (gzip)", "unpack it first"),
)


def opened(data: bytes) -> Image.Image:
    """The image, of which no pixel is read. Raises ImageError.

    The plugins are asked as `Image.open` asks them, which refuses or warns of images by a limit of the whole process.
    """
    failure: Exception | None = None
    for some in (bytes, _without_text) if data.startswith(PNG) else (bytes,):
        try:
            if image := _asked(some(data)):  # only a PNG that failed is copied
                return image
        except Exception as error:  # the plugins raise nearly anything on corrupt data
            failure = error
    if data[4:8] == b"ftyp" and data[8:12] in HEIC and (heic := reader_of_heic()):
        try:
            return heic(io.BytesIO(data), "")
        except Exception as error:
            failure = error
    if failure:
        raise ImageError(f"corrupt header: {failure}") from failure
    raise ImageError(recognised(data) or "not an image, or of a format that is not read")


def reader_of_heic() -> Callable[[io.BytesIO, str], Image.Image] | None:
    """pillow-heif's, where it is installed (`declip-rt[photos]`)."""
    try:
        reader: Callable[[io.BytesIO, str], Image.Image] = extras.load("pillow_heif").HeifImageFile
    except Unavailable:
        return None
    return reader


def _asked(data: bytes) -> Image.Image | None:
    """The image by the first plugin that takes it."""
    for name in READ:
        if name not in Image.OPEN:
            Image.init()
        if name not in Image.OPEN:  # AVIF, where Pillow was built without it
            continue
        factory, accept = Image.OPEN[name]
        taken = accept is None or accept(data[:16])
        if not taken or isinstance(taken, str):  # why it would take it, but cannot
            continue
        try:
            return factory(io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    return None


def _without_text(data: bytes) -> bytes:
    """A PNG without its texts, which may be of any size or damaged where the pixels are fine."""
    kept, place = [data[: len(PNG)]], len(PNG)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME"):
            kept.append(data[place:end])
        place = end
    return b"".join(kept)


def recognised(data: bytes) -> str | None:
    """What a file is that is not decoded, and what to do; None where nobody knows."""
    head = data[:64].lstrip() if data[:1] in b" \r\n\t" else data[:64]
    for place, mark, name, remedy in SIGNATURES:
        found = head[place : place + len(mark)]
        if found == mark or (mark.startswith(b"<") and found.lower() == mark.lower()):
            return f"{name} is not read: {remedy}"
    return _unread(data)


def _unread(data: bytes) -> str | None:
    """What is wrong with an image of a format that is decoded, but not in all of its kinds."""
    if data.startswith(JPEG):
        bits = _bits_of_jpeg(data)
        if bits not in (None, 8):
            return f"a JPEG of {bits} bits is not read: convert it to 8 bits first"
        return "a corrupt JPEG, or of a kind that is not read"
    if data.startswith(TIFF):
        return "a corrupt TIFF, or of a kind that is not read, such as floating-point RGB: convert it to 8 bits first"
    for mark, name in ((PNG, "PNG"), (b"GIF8", "GIF"), (b"BM", "BMP"), (b"RIFF", "WebP")):
        if data.startswith(mark) and (name != "WebP" or data[8:12] == b"WEBP"):
            return f"a corrupt or truncated {name}, or of a kind that is not read"
    return None


def _bits_of_jpeg(data: bytes) -> int | None:
    """The bits of a sample, by the header of the frame; None where there is none."""
    place = 2
    while place + 5 <= len(data) and data[place] == 0xFF:
        mark = data[place + 1]
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
            return data[place + 4]
        place += 1 if mark == 0xFF else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def raw_kind(data: bytes) -> str:
    """What a camera's raw file is called, by its first bytes; nothing for other files."""
    return next((name for place, mark, name in RAWS if data[place : place + len(mark)] == mark), "")


def is_camera_raw(image: Image.Image) -> bool:
    """Whether a TIFF is a camera's raw file, whose pages Pillow may read."""
    tags = getattr(image, "tag_v2", {})
    return image.format == "TIFF" and (DNG in tags or (MAKE in tags and bool(tags.get(SUBFILE, 0) & 1)))
