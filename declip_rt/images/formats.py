"""Which formats are decoded, and what others are called, so that their error says what to do."""

from __future__ import annotations

from PIL import Image

READ = (  # by Pillow, in the order of its trials; no other of its plugins is asked: some start programs
    *("JPEG", "PNG", "GIF", "BMP", "PPM"),  # those that Pillow has at hand without importing all its plugins
    *("AVIF", "DDS", "DIB", "ICO", "JPEG2000", "PCX", "QOI", "SGI", "TIFF", "WEBP"),
    "TGA",  # which has no signature
)
CONVERT, DEVELOP = "convert it to JPEG or PNG first", "develop it to JPEG, PNG or TIFF first"
SUBFILE, MAKE, DNG = 254, 271, 50706  # TIFF tags
SIGNATURES = (  # where, what, the format's name, what to do
    (0, b"\xff\x0a", "JPEG XL", CONVERT),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL", CONVERT),
    (4, b"ftypcrx ", "camera raw (CR3)", DEVELOP),
    *(
        (4, b"ftyp" + brand, "HEIC", CONVERT)
        for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
    ),
    (4, b"ftyp", "a film (MP4)", "give its frames"),
    (8, b"AVI ", "a film (AVI)", "give its frames"),
    (0, b"\x1aE\xdf\xa3", "a film (Matroska)", "give its frames"),
    (8, b"CR\x02\0", "camera raw (CR2)", DEVELOP),
    (0, b"FUJIFILMCCD-RAW", "camera raw (RAF)", DEVELOP),
    *((0, mark, "camera raw (ORF)", DEVELOP) for mark in (b"IIRO", b"IIRS", b"MMOR")),
    (0, b"IIU\0", "camera raw (RW2)", DEVELOP),
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


def recognised(data: bytes) -> str | None:
    """What a file is that is not decoded, and what to do; None where nobody knows."""
    head = data[:64].lstrip() if data[:1] in b" \r\n\t" else data[:64]
    for place, mark, name, remedy in SIGNATURES:
        found = head[place : place + len(mark)]
        if found == mark or (mark.startswith(b"<") and found.lower() == mark.lower()):
            return f"{name} is not read: {remedy}"
    return None


def is_camera_raw(image: Image.Image) -> bool:
    """Whether a TIFF is a camera's raw file, of which Pillow reads a thumbnail alone."""
    tags = getattr(image, "tag_v2", {})
    return image.format == "TIFF" and (DNG in tags or (MAKE in tags and bool(tags.get(SUBFILE, 0) & 1)))
