"""The file for Prometheus is whole at any time and says what the collector needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from declip_rt.video import metrics
from declip_rt.video.metrics import Metrics

COUNTS = {
    "declip_frames_total": 250,
    "declip_dropped_total": 3,
    "declip_freeze_seconds_total": 1.5,
    "declip_last_frame_timestamp_seconds": 1795727079.5,
}


def samples(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    assert path.read_text().endswith("\n")
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_each_figure_has_its_type_and_value(tmp_path: Path) -> None:
    path = tmp_path / "declip.prom"
    Metrics(path).write({"technical": 0.25, "sharpness": 0.5}, COUNTS)
    assert samples(path) == {
        "declip_technical": "0.25",
        'declip_attribute{name="sharpness"}': "0.5",
        "declip_frames_total": "250",
        "declip_dropped_total": "3",
        "declip_freeze_seconds_total": "1.5",
        "declip_last_frame_timestamp_seconds": "1795727079.5",
    }
    assert "# TYPE declip_frames_total counter" in path.read_text()
    assert [*tmp_path.iterdir()] == [path], "nothing half written is left"


def test_a_stream_with_a_name_is_told_from_others(tmp_path: Path) -> None:
    path = tmp_path / "declip.prom"
    Metrics(path, 'gate "2"').write({"technical": 0.25, "sharpness": 0.5}, COUNTS)
    found = samples(path)
    assert found['declip_technical{stream="gate \\"2\\""}'] == "0.25"
    assert found['declip_attribute{name="sharpness",stream="gate \\"2\\""}'] == "0.5"


def test_before_the_first_sample_there_is_no_score(tmp_path: Path) -> None:
    Metrics(tmp_path / "declip.prom").write({}, COUNTS)
    assert "declip_technical" not in samples(tmp_path / "declip.prom")


def test_it_is_written_once_in_a_while_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "EVERY", 1000)
    made = Metrics(tmp_path / "declip.prom")
    for value in (0.1, 0.2):
        made.write({"technical": value}, COUNTS)
    assert samples(made.path)["declip_technical"] == "0.1"
    made.write({"technical": 0.3}, COUNTS, now=True)
    assert samples(made.path)["declip_technical"] == "0.3"
