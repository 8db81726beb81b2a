"""Small pictures of a report: within the page or, where there are many, in a folder beside it."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from declip_rt.errors import ConfigError, ImageError
from declip_rt.images import formats, sources
from declip_rt.images.decode import from_pil

SIDE = 280  # the longest, pixels
NAME = "thumbnail-{:06}.jpg"


def folder_of(page: Path) -> Path:
    """The folder of the page's thumbnails. Folders that are scored leave it out."""
    return page.with_name(page.stem + sources.PARTS)


def check(page: Path) -> None:
    """Raises ConfigError where the folder cannot be written, or holds what no report has put there."""
    folder = folder_of(page)
    try:
        strange = os.path.lexists(folder) and (
            folder.is_symlink() or any(not _is_ours(file.name) for file in folder.iterdir())
        )
    except OSError as error:
        raise ConfigError(f"--html {page}: thumbnails cannot go to {folder}: {error.strerror}") from error
    if strange:
        raise ConfigError(f"--html {page}: thumbnails would go to {folder}, which is not a report's; take another name")


def holds(page: Path, image: str) -> bool:
    """Whether the image is a thumbnail of the page, which a new one replaces."""
    return _is_ours(os.path.basename(image)) and Path(image).resolve().parent == folder_of(page)


def _is_ours(name: str) -> bool:
    head, tail = NAME.split("{:06}")
    return name.startswith(head) and name.endswith(tail)


class Thumbnails:
    """Makes the `src` of a page's pictures."""

    def __init__(self, page: Path, beside: bool) -> None:
        self._folder = folder_of(page) if beside else None
        if self._folder:
            self._folder.mkdir(exist_ok=True)
            for old in self._folder.iterdir():
                old.unlink()

    def __call__(self, number: int, path: str) -> str | None:
        """That of the photo at `path`; None where it can no longer be read."""
        small = _small(path)
        if small is None:
            return None
        if self._folder is None:
            return f"data:image/jpeg;base64,{base64.b64encode(small).decode()}"
        file = self._folder / NAME.format(number)
        file.write_bytes(small)
        return quote(os.fsencode(f"{self._folder.name}/{file.name}"))


def _small(path: str) -> bytes | None:
    """A JPEG."""
    try:
        with formats.opened(sources.read(path).data) as image:
            image.draft("RGB", (2 * SIDE, 2 * SIDE))
            small = Image.fromarray(from_pil(image))
    except (ImageError, OSError):
        return None
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
