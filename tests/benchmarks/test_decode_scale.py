"""The benchmark of --decode-scale compares scores of the same photos."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import decode_scale, peers
from declip_rt import Bundle
from tests.conftest import encoded, picture


def test_the_command_writes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_scale, "KINDS", {"blur": decode_scale.KINDS["blur"]})
    monkeypatch.setattr(peers, "SIZES", {"500x500": (60, 60), "8 megapixels": (240, 180)})
    monkeypatch.setattr("sys.argv", ["decode_scale", "--photos", "2", "--out", str(tmp_path / "d.md")])
    assert decode_scale.main() == 0
    assert "6 in all" in (tmp_path / "d.md").read_text()


def test_small_photos_do_not_change_and_large_ones_do() -> None:
    bundle = Bundle()
    small = decode_scale.table(bundle, [encoded(picture(i, 90, 80)) for i in range(3)])
    large = decode_scale.table(bundle, [encoded(picture(i, 4300, 4200)) for i in range(3)])
    assert "| technical | 1.0000 | 0.0000 | 0.0000 | 0.0000 |" in small
    assert "| technical | " in large
    assert "| 0.0000 | 0.0000 | 0.0000 |" not in next(r for r in large.splitlines() if r.startswith("| technical"))
