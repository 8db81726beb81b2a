"""What scores are compared with: photos of the bundle, or rows of an earlier run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from declip_rt import Bundle, ConfigError
from declip_rt.video.reference import FEWEST, Reference

Rows = list[dict[str, object]]


def made(bundle: Bundle, count: int) -> Rows:
    return [
        {"path": f"{i}.jpg", **{head.name: i / count for head in bundle.heads}, "error": None} for i in range(count)
    ]


def save(file: Path, rows: Rows) -> Path:
    if file.suffix == ".csv":
        with file.open("w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file


def test_the_bundle_has_its_own(bundle: Bundle) -> None:
    reference = Reference.of(bundle)
    assert reference.names[:2] == ["technical", "aesthetic"]
    assert sorted(reference.names) == sorted(head.name for head in bundle.heads)
    for score in (0.0, 0.31, 0.7, 1.0):
        assert reference.percentile("sharpness", score) == bundle.percentile("sharpness", score)
    assert reference.percentile("unknown", 0.5) is None


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_of_any_format_are_one(bundle: Bundle, tmp_path: Path, suffix: str) -> None:
    rows = made(bundle, 100)
    rows.append(dict.fromkeys(rows[0]) | {"path": "bad.jpg", "error": "no image"})
    reference = Reference.read(save(tmp_path / f"rows{suffix}", rows), bundle)
    assert reference.percentile("technical", 0.25) == pytest.approx(25, abs=0.5)
    assert np.diff(reference.percentiles["noisiness"]).min() > 0


def test_what_is_no_reference_says_why(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"has {FEWEST - 1} rows with technical"):
        Reference.read(save(tmp_path / "few.csv", made(bundle, FEWEST - 1)), bundle)
    lacking = [{"path": row["path"], "technical": row["technical"]} for row in made(bundle, 50)]
    with pytest.raises(ConfigError, match="has 0 rows"):
        Reference.read(save(tmp_path / "lacking.jsonl", lacking), bundle)
    with pytest.raises(ConfigError, match="the suffix must be"):
        Reference.read(tmp_path / "x.txt", bundle)
    for name, content in (("gone.csv", None), ("x.jsonl", "{"), ("x.parquet", "PAR?")):
        if content:
            (tmp_path / name).write_text(content)
        with pytest.raises(ConfigError, match="cannot read --reference"):
            Reference.read(tmp_path / name, bundle)
