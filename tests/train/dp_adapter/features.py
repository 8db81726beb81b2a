"""Files of features in the form of `declip-rt embed`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

from declip_rt import Bundle
from tests.train.dp_adapter import pipelines


def write(path: Path, bundle: Bundle, photos: list[str], facts: Mapping[str, str] | None = None) -> None:
    """A row for each photo, whose features are those of its number, and one of a photo that could not be read."""
    count = len(photos)
    columns: dict[str, Any] = {"path": [*photos, "broken.jpg"], "error": [*[""] * count, "it is truncated"]}
    for first, name in enumerate(("perceptual", "semantic")):
        columns[name] = np.stack([pipelines.features(10 * first + row, 1)[0].numpy() for row in range(count)])
    told = {"model": bundle.name, "bundle": bundle.hash} | dict(facts or {})
    if path.suffix == ".npz":
        missing = np.full((1, 768), np.nan, np.float32)
        columns |= {name: np.concatenate([columns[name], missing]) for name in ("perceptual", "semantic")}
        np.savez(path, **columns, **told)
    else:
        kind = arrow.list_(arrow.float32(), 768)
        columns |= {name: arrow.array([*columns[name], None], kind) for name in ("perceptual", "semantic")}
        columns["error"] = [text or None for text in columns["error"]]
        parquet.write_table(arrow.table(columns).replace_schema_metadata(told), path)
