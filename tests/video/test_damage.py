"""Faults of 1 to 3 s in clips of real photos are found within a sampling step, and none is claimed in clean ones.

The thresholds are not made for these clips: they come from a clip's own scenes and from the reference photos.
`python -m benchmarks.video` tries every fault at every place of all clips; its page says what is missed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import clips
from benchmarks.video import missed_and_claimed
from declip_rt import Event, Scorer, VideoScorer

Frames = list[clips.Frame]


@pytest.fixture(scope="module")
def frames() -> Frames:
    return clips.clip(0)


def events(file: Path, scorer: Scorer) -> list[Event]:
    return list(VideoScorer(scorer).score(file).events)


@pytest.mark.parametrize(
    "first", [0, 2, pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_clean_clip_has_its_cuts_alone(first: int, scorer: Scorer, tmp_path: Path) -> None:
    clips.write(tmp_path / "x.mp4", clips.clip(first))
    found = events(tmp_path / "x.mp4", scorer)
    assert [(event.kind, event.start) for event in found] == [("scene", 5.0), ("scene", 10.0), ("scene", 15.0)]


@pytest.mark.parametrize(
    ("fault", "start", "end"),
    [
        (clips.blur, 11.0, 14.0),
        (clips.noise, 6.0, 7.0),
        (clips.crf45, 15.0, 16.5),
        (clips.dark, 2.0, 4.0),
        (clips.freeze, 7.0, 9.0),
        (clips.black, 11.5, 12.5),
        (clips.lost, 6.0, 8.0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_fault_is_found_within_a_step(
    fault: clips.Damage, start: float, end: float, frames: Frames, scorer: Scorer, tmp_path: Path
) -> None:
    gap = (start, end) if fault is clips.lost else None
    clips.write(tmp_path / "x.mp4", clips.damaged(frames, fault, start, end), gap=gap)
    missed, claimed = missed_and_claimed(events(tmp_path / "x.mp4", scorer), clips.FAULTS[fault], start, end)
    assert not missed
    assert claimed == []


@pytest.mark.parametrize("variant", [name for name in clips.VARIANTS if name != "plain"])
def test_it_is_found_in_other_streams_too(variant: str, frames: Frames, scorer: Scorer, tmp_path: Path) -> None:
    write, suffix = clips.VARIANTS[variant]
    file = tmp_path / f"x{suffix}"
    write(file, clips.damaged(frames, clips.blur, 6.0, 8.0))
    told = [event for event in events(file, scorer) if event.kind != "discontinuity"]
    assert missed_and_claimed(told, ("low",), 6.0, 8.0) == (False, [])


@pytest.mark.slow
@pytest.mark.parametrize("variant", [name for name in clips.VARIANTS if name != "plain"])
def test_other_clean_streams_have_cuts_alone(variant: str, frames: Frames, scorer: Scorer, tmp_path: Path) -> None:
    write, suffix = clips.VARIANTS[variant]
    write(tmp_path / f"x{suffix}", frames)
    kinds = {event.kind for event in events(tmp_path / f"x{suffix}", scorer)}
    assert kinds - {"discontinuity"} == {"scene"}
