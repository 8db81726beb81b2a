"""Where photos come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from train.i2t.manifest import Row, read
from train.photos import photos


@dataclass(frozen=True)
class Source:
    """Rows of photos, whose paths begin at `folder`."""

    rows: tuple[Row, ...]
    folder: Path

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
        return cls(tuple(rows), folder)
