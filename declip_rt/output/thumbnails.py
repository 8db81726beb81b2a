"""Small pictures of a report's photos: in the page or, where there are many, in a file beside it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from declip_rt.errors import ConfigError, ImageError
from declip_rt.images import color, sources
from declip_rt.images.decode import Encoded
from declip_rt.images.memory import Budget, allowance
from declip_rt.stats import cores

Photo: TypeAlias = tuple[int, str]  # its number in the page, and its path
SIDE = 280  # the longest, pixels
MARK = b"/* thumbnails of a page of declip-rt */\n"


def beside(page: Path) -> Path:
    """The file of a page's thumbnails."""
    return page.with_name(page.name + ".thumbnails.js")


def check(page: Path) -> Path:
    """The file of a page's thumbnails. Raises ConfigError where something else has its name."""
    file = beside(page)
    try:
        if file.is_symlink() or (file.exists() and not _is_ours(file)):
            raise ConfigError(f"--html {page}: its thumbnails would replace {file}; give the page another name")
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from error
    return file


def _is_ours(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as found:
        return found.read(len(MARK)) == MARK


def write(file: Path, page: str, photos: Iterable[Photo]) -> None:
    """Writes a script that gives them to the page which is called so."""
    with file.open("wb") as script:
        script.write(MARK)
        script.write(b"thumbnails(%s, {\n" % json.dumps(page).encode())
        for number, picture in make(photos):
            script.write(b"%d: %s,\n" % (number, json.dumps(picture).encode()))
        script.write(b"});\n")


def make(photos: Iterable[Photo]) -> Iterator[tuple[int, str | None]]:
    """The number and the thumbnail of each, as a data URI; None where the photo can no longer be read."""
    budget = Budget(allowance())
    with ThreadPoolExecutor(cores(), thread_name_prefix="declip-thumbnail") as pool:
        yield from pool.map(lambda photo: (photo[0], _small(photo[1], budget)), photos)


def _small(path: str, budget: Budget) -> str | None:
    try:
        encoded = Encoded(sources.read(path, budget.most).data)
        with budget.lent(encoded.cost, path):
            made = encoded.decode(SIDE)
            small = Image.fromarray(made.rgb)
            small.thumbnail((SIDE, SIDE))
            small = Image.fromarray(color.rgb_to_srgb(np.asarray(small), made.profile))
    except ImageError:
        return None
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
