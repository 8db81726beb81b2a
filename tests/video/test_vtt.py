"""WebVTT: cues that a player reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from declip_rt.video.vtt import Subtitles, clock, cues


def sample(time: float, technical: float, findings: str | None = None, flags: str | None = None) -> dict[str, Any]:
    return {"time": time, "technical": technical, "findings": findings, "flags": flags}


def test_each_sample_and_event_is_a_cue() -> None:
    samples = [sample(0, 0.5), sample(1.5, 0.25, "blurry, noisy", "corrupt")]
    events = [
        {"start": 1.5, "end": 2.0, "kind": "low", "detail": "technical 0.50 -> 0.25"},
        {"start": 3661.25, "end": 3661.25, "kind": "scene", "detail": "a --> b & <c>"},
    ]
    assert cues(samples, events, 2.0) == (
        "WEBVTT - declip-rt\n\n"
        "00:00:00.000 --> 00:00:01.500\ntechnical 0.50\n\n"
        "00:00:01.500 --> 00:00:02.000\ntechnical 0.25 · blurry, noisy · corrupt\n\n"
        "00:00:01.500 --> 00:00:02.000\nlow: technical 0.50 -&gt; 0.25\n\n"
        "01:01:01.250 --> 01:01:02.250\nscene: a --&gt; b &amp; &lt;c&gt;\n"
    )


def test_cues_are_in_the_order_of_time() -> None:
    event = {"start": 0.5, "end": 0.75, "kind": "black", "detail": ""}
    lines = cues([sample(0, 0.5), sample(1, 0.6)], [event], 2.0).splitlines()
    assert [line[:12] for line in lines if "-->" in line] == ["00:00:00.000", "00:00:00.500", "00:00:01.000"]


def test_a_cue_is_as_long_as_its_sample_holds() -> None:
    assert cues([sample(0, 0.5), sample(0, 0.6)], [], 0.0) == "WEBVTT - declip-rt\n"
    assert clock(59.9996) == "00:01:00.000"


def test_the_first_cue_begins_where_the_video_was_read_from(tmp_path: Path) -> None:
    made = Subtitles(tmp_path / "x.vtt", 5.0)
    made.write({"error": None, "duration": 10.0}, [sample(0, 0.5), sample(10, 0.25)], [])
    made.close()
    assert (tmp_path / "x.vtt").read_text() == (
        "WEBVTT - declip-rt\n\n"
        "00:00:05.000 --> 00:00:10.000\ntechnical 0.50\n\n00:00:10.000 --> 00:00:15.000\ntechnical 0.25\n"
    )


def test_of_a_video_that_failed_there_is_a_file_without_cues(tmp_path: Path) -> None:
    made = Subtitles(tmp_path / "x.vtt")
    made.write({"error": "no video", "duration": None}, [], [])
    made.close()
    assert (tmp_path / "x.vtt").read_text() == "WEBVTT - declip-rt\n"
