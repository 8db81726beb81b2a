"""What docs/datasets.md tells people to run, runs."""

from __future__ import annotations

import re
from pathlib import Path

from tests.commands.test_score import rows
from tests.images.test_stores import PHOTOS, table_of, tar_of, zip_of
from tests.test_features_docs import ROOT, run

TEXT = (ROOT / "docs" / "datasets.md").read_text()


def test_its_command_runs(tmp_path: Path) -> None:
    [command] = re.findall(r"^\$ (.*)$", TEXT, re.MULTILINE)
    for name in ("shard-000.tar", "shard-001.tar"):
        tar_of(tmp_path / name, [*PHOTOS.items()])
    zip_of(tmp_path / "photos.zip", [*PHOTOS.items()])
    table_of(tmp_path / "data.parquet", [*PHOTOS.values()])
    run(tmp_path, *command.split())
    found = [row["path"] for row in rows(tmp_path / "scores.csv")]
    assert len(found) == 12
    assert {found[0], found[3], found[6], found[9]} == {
        *("shard-000.tar#0.jpg", "shard-001.tar#0.jpg", "photos.zip#0.jpg", "data.parquet#0")
    }
