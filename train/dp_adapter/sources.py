"""Where photos come from."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from declip_rt.disk import read_csv
from train.i2t.manifest import Row, read
from train.photos import photos


@dataclass(frozen=True)
class Source:
    """Rows of photos, whose paths begin at `folder`."""

    rows: tuple[Row, ...]
    folder: Path
    credits: Mapping[str, str] = field(default_factory=dict)  # of rows' images, where their licence asks for it

    @classmethod
    def of_manifest(cls, path: Path) -> Source:
        """The rows of an I&2T manifest. Raises ConfigError."""
        return cls(tuple(read(path)), path.parent)

    @classmethod
    def of_data(cls, folder: Path) -> Source:
        """The pristine photos of a data folder that no model of this repository was trained on. Raises ConfigError."""
        found = photos(folder, "pristine", "test")
        rows = (
            Row(str(photo.path.relative_to(folder)), semantic=(photo.label,) * bool(photo.label)) for photo in found
        )
        table = read_csv(folder / "pristine" / "captions.csv")
        credits = {f"pristine/{line['image']}": _plain(line["credit"]) for line in table if line.get("credit")}
        return cls(tuple(rows), folder, credits)


def _plain(credit: str) -> str:
    """Flickr's names as they are, which the table has with bytes as \\303 and signs as &amp;."""
    raw = re.sub(rb"\\(\d{3})", lambda found: bytes([int(found[1], 8)]), credit.encode())
    return html.unescape(raw.decode(errors="replace"))
