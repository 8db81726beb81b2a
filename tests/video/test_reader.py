"""Pictures at chosen times, and what happens between them."""

from __future__ import annotations

import bisect
import itertools
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import InputContainer
from PIL import Image

from declip_rt.errors import ConfigError, ImageError
from declip_rt.video.reader import Reader
from tests.video import clips


def read(path: Path | InputContainer, **options: object) -> tuple[list[float], Reader]:
    """The times of samples, and the reader after them."""
    with Reader(path, **options) as reader:  # type: ignore[arg-type]
        return [round(each.time, 3) for each in reader.samples()], reader


def seen(reader: Reader) -> list[tuple[str, float, float]]:
    return [(each.kind, round(each.start, 2), round(each.end, 2)) for each in reader.events]


def test_a_picture_a_second_and_the_cuts(clip: Path) -> None:
    times, reader = read(clip)
    assert times == [0, 1, 2, 3, 4, 5]
    assert seen(reader) == [("scene", 2, 2), ("scene", 4, 4)]
    assert reader.duration == 6
    facts = reader.facts
    assert (facts.codec, facts.width, facts.height, facts.fps, facts.vfr) == ("h264", 320, 180, 25, False)
    assert (facts.bit_depth, facts.rotation, facts.sar, facts.interlaced, facts.hdr) == (8, 0, "1:1", False, "-")


def test_pixels_are_those_of_the_picture(clip: Path) -> None:
    with Reader(clip) as reader:
        third = list(reader.samples())[3].rgb
    shown = list(clips.scenes(6))[75].astype(int)
    assert third.dtype == np.uint8
    assert np.abs(third - shown).mean() < 5


@pytest.mark.parametrize(
    ("options", "times", "duration"),
    [
        ({"every": 2}, [0, 2, 4], 6),
        ({"fps": 0.5}, [0, 2, 4], 6),
        ({"every": "auto"}, [0, 1, 1.72, 2, 2.24, 2.48, 3, 3.72, 4, 4.24, 4.48, 5], 6),
        ({"keyframes": True}, [0, 1, 2, 3, 4, 5], 6),
        ({"start": 2.5, "end": 4.5}, [2.48, 3.48], 2),
        ({"start": 5.5}, [5.48], 0.5),
        ({"end": 2}, [0, 1], 2),
        ({"start": 3, "keyframes": True}, [3, 4, 5], 3),
    ],
)
def test_which_pictures(clip: Path, options: dict[str, object], times: list[float], duration: float) -> None:
    taken, reader = read(clip, **options)
    assert taken == times
    assert reader.duration == pytest.approx(duration)


@pytest.mark.parametrize(
    ("options", "times", "duration"),
    [
        ({"start": 0.5, "end": 1.5}, [0], 1),
        ({"start": 0.5, "end": 1.5, "every": 0.3}, [0, 1], 1),
        ({"start": 0.5, "end": 1.6, "every": "auto"}, [0, 1], 1.1),
        ({"start": 0.2, "end": 0.8}, [0], 0.6),
        ({"end": 1.5}, [0, 1], 1.5),
    ],
)
def test_a_picture_that_stands_long_is_read_in_part(
    tmp_path: Path, options: dict[str, object], times: list[float], duration: float
) -> None:
    path = tmp_path / "slides.mkv"
    clips.write(path, [clips.photo(name, 64, 36) for name in ("coffee", "chelsea", "rocket")], times=[0, 1, 2])
    taken, reader = read(path, **options)
    assert taken == times
    assert reader.duration == pytest.approx(duration)


def test_a_freeze_is_seen_where_it_is_read_in_part(tmp_path: Path) -> None:
    times = [*np.arange(0, 1, 0.04), *np.arange(3, 4, 0.04)]
    clips.write(tmp_path / "stall.mkv", clips.scenes(2, names=["coffee"]), times=times)
    for part, event in (({"start": 2.0}, ("freeze", 0.96, 3)), ({"end": 2.0}, ("freeze", 0.96, 2))):
        assert event in seen(read(tmp_path / "stall.mkv", **part)[1])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"every": 0}, "`every` must be seconds, more than 0"),
        ({"every": "often"}, "`every` must be seconds, more than 0"),
        ({"fps": -1}, "`fps` must be more than 0"),
        ({"start": 5, "end": 3}, "`start` must be at least 0 and `end` beyond it"),
    ],
)
def test_arguments_that_make_no_sense(clip: Path, options: dict[str, object], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        read(clip, **options)


def test_a_reader_reads_once(clip: Path) -> None:
    with Reader(clip) as reader:
        list(reader.samples())
        with pytest.raises(ConfigError, match="open the video again"):
            list(reader.samples())


def test_a_file_object_and_a_pipe_are_read_alike(clip: Path, stream: Path) -> None:
    with clip.open("rb") as file, Reader(file, start=2) as reader:
        assert [each.time for each in reader.samples()] == [2, 3, 4, 5]
    process = subprocess.Popen(["cat", stream], stdout=subprocess.PIPE)
    assert process.stdout
    with process, Reader(process.stdout) as reader:  # type: ignore[arg-type]
        assert [each.time for each in reader.samples()] == [0, 1]


@pytest.mark.parametrize("taken", [1, 60, 1000])
def test_a_container_that_was_read_is_read_from_its_start(clip: Path, taken: int) -> None:
    with av.open(str(clip)) as container:
        for _ in itertools.islice(container.decode(video=0), taken):
            pass
        for _ in range(2):
            assert read(container, keyframes=True)[0] == [0, 1, 2, 3, 4, 5]
            assert container.streams.video[0].codec_context.skip_frame == "DEFAULT"
            times, reader = read(container, every=0.04)
            assert (len(times), times[0], reader.duration) == (150, 0, 6)
            assert seen(reader) == [("scene", 2, 2), ("scene", 4, 4)]


def test_a_pipe_is_read_from_its_middle_by_reading_all_before(clip: Path) -> None:
    process = subprocess.Popen(
        ["cat", clips.remux(clip, clip.with_suffix(".mkv"), lambda _, packet: packet)], stdout=subprocess.PIPE
    )
    assert process.stdout
    with process, Reader(process.stdout, start=3) as reader:  # type: ignore[arg-type]
        assert [each.time for each in reader.samples()] == [3, 4, 5]
        with pytest.raises(ImageError, match="its start is not found again"):
            reader.at(1)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_times_of_an_uneven_rate_are_exact(tmp_path: Path, suffix: str) -> None:
    steps = np.random.default_rng(0).choice([3000, 6000, 9000, 36_000], 75) / 90_000
    times = [round(each, 3) for each in np.concatenate([[0], np.cumsum(steps)[:-1]])]
    path = tmp_path / f"vfr.{suffix}"
    clips.write(path, clips.scenes(3, names=["coffee"]), times=times)
    taken, reader = read(path, fps=1000)
    assert taken == times
    assert reader.facts.vfr
    coarse, _ = read(path)
    assert coarse == [times[bisect.bisect(times, second) - 1] for second in range(int(times[-1]) + 1)]


KINDS = {
    "mp4": {},
    "mkv": {},
    "ts": {"format": "mpegts"},
    "avi": {"codec": "mpeg4"},
    "open.mp4": {"options": {"preset": "fast", "x264-params": "open-gop=1:bframes=3"}, "gop": 30},
    "open.ts": {"options": {"preset": "fast", "x264-params": "open-gop=1:bframes=3"}, "gop": 30, "format": "mpegts"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_seek_is_wrong(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"clip.{kind}"
    clips.write(path, clips.scenes(8, width=160, height=90), **KINDS[kind])  # type: ignore[arg-type]
    with Reader(path, fps=1000) as reader:
        all_of_it = list(reader.samples())
    times = [each.time for each in all_of_it]
    assert len(times) == 200
    with Reader(path) as reader:
        for time in np.random.default_rng(1).uniform(0, 8, 28):
            found, expected = reader.at(time), all_of_it[bisect.bisect(times, time + 0.001) - 1]
            assert found.time == expected.time
            assert np.array_equal(found.rgb, expected.rgb)


def test_a_seek_that_lands_too_late_is_found_out(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Reader(clip) as reader:
        container = reader._container
        honest = container.seek

        class Late:
            """A container that goes two seconds too far, unless it is to go to the start."""

            def seek(self, place: int, **options: object) -> None:
                honest(place + 2 * 12_800 if place > 0 else place, **options)

            def __getattr__(self, name: str) -> object:
                return getattr(container, name)

        reader._decoder.container = Late()  # type: ignore[assignment]
        assert reader.at(3.33).time == pytest.approx(3.32)


def join(target: Path, *sources: Path) -> Path:
    target.write_bytes(b"".join(each.read_bytes() for each in sources))
    return target


def test_streams_that_were_joined(stream: Path, tmp_path: Path) -> None:
    joined = join(tmp_path / "joined.ts", stream, stream, stream)
    times, reader = read(joined)
    assert times == [0, 1, 2, 3, 4, 5]
    assert [each for each in seen(reader) if each[0] != "scene"] == [("discontinuity", 2, 2), ("discontinuity", 4, 4)]
    assert reader.duration == pytest.approx(6)
    assert "timestamps jump from" in reader.events[0].detail
    times, reader = read(joined, start=3.5)
    assert times == [3.48, 4.48, 5.48]


@pytest.mark.parametrize("gop", [25, 50, 300])
def test_key_frames_of_a_transport_stream(tmp_path: Path, gop: int) -> None:
    """Alone and joined: 13 s with a key frame each one, two or twelve seconds, which is no jump."""
    path, count = tmp_path / "clip.ts", 325
    still = clips.photo("coffee", 64, 36)
    clips.write(path, [still] * count, format="mpegts", gop=gop, options={"x264-params": f"min-keyint={gop}"})
    keys = [each / 25 for each in range(0, count, gop)]
    times, reader = read(path, keyframes=True)
    assert (times, seen(reader)) == (keys, [])
    assert reader.duration == pytest.approx(13)
    times, reader = read(join(tmp_path / "joined.ts", path, path), keyframes=True)
    assert times == [*keys, *(13 + each for each in keys)]
    assert seen(reader) == [("discontinuity", 13, 13)]
    assert reader.duration == pytest.approx(26)


def test_a_size_that_changes_midway(stream: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.ts"
    clips.write(small, clips.scenes(2, width=160, height=90, names=["chelsea"]), format="mpegts")
    for deinterlace in (False, True):
        with Reader(join(tmp_path / "both.ts", stream, small), deinterlace=deinterlace) as reader:
            assert [each.rgb.shape[:2] for each in reader.samples()] == [(180, 320)] * 2 + [(90, 160)] * 2
        (resize,) = (each for each in reader.events if each.kind == "resize")
        assert (resize.start, resize.detail) == (pytest.approx(2), "320x180 -> 160x90")


def test_a_file_that_ends_too_early(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    clips.write(whole, clips.scenes(3))
    assert [kind for kind, *_ in seen(read(whole)[1])] == ["scene", "scene"]
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    _, reader = read(cut)
    (event,) = (each for each in reader.events if each.kind == "truncated")
    assert 0.5 < event.start == reader.duration < 2.5
    assert event.end == pytest.approx(3, abs=0.05)
    assert event.detail == f"ends at {event.start:.1f} of 3.0 s"
    assert [kind for kind, *_ in seen(read(cut, end=0.5)[1]) if kind == "truncated"] == []


def test_packets_that_are_damaged(clip: Path, tmp_path: Path) -> None:
    damaged = clips.remux(clip, tmp_path / "damaged.mp4", clips.garbled(3, 3.5))
    with Reader(damaged, every=0.2) as reader:
        samples = list(reader.samples())
    assert len(samples) == 30, "damaged pictures are scored"
    flagged = [each.time for each in samples if "corrupt" in each.flags]
    assert flagged
    assert all(2.9 <= each < 4 for each in flagged)
    (event,) = (each for each in reader.events if each.kind == "corrupt")
    assert 2.9 <= event.start <= 3.2
    assert 3.4 <= event.end <= 4.04
    assert "without all its data" in event.detail


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_packets_that_are_lost(tmp_path: Path, suffix: str) -> None:
    clip = tmp_path / "clip.mp4"
    clips.write(clip, clips.scenes(12), gop=50)
    path = clips.remux(clip, tmp_path / f"half.{suffix}", clips.dropped(5, 7, every=2))
    (event,) = (each for each in read(path)[1].events if each.kind != "scene")
    assert (event.kind, event.detail) == ("corrupt", "25 pictures are missing")
    assert (event.start, event.end) == (pytest.approx(5, abs=0.09), pytest.approx(7, abs=0.09))
    path = clips.remux(clip, tmp_path / f"all.{suffix}", clips.dropped(5, 7))
    (event,) = (each for each in read(path)[1].events if each.kind != "scene")
    assert (event.kind, event.detail) == ("freeze", "no new picture for 2.04 s")


def test_nothing_but_damage(clip: Path, tmp_path: Path) -> None:
    path = clips.remux(clip, tmp_path / "none.mp4", lambda number, packet: None if packet.is_keyframe else packet)
    with pytest.raises(ImageError, match="no picture of it can be decoded"):
        Reader(path)


@pytest.mark.parametrize("deinterlace", [False, True])
def test_interlaced_pictures(tmp_path: Path, deinterlace: bool) -> None:
    moving = list(clips.panned(clips.photo("astronaut", 640, 288), 320, 288, 52, step=8))
    woven = [np.where(np.arange(288)[:, None, None] % 2, after, before) for before, after in zip(*[iter(moving)] * 2)]  # noqa: B905
    clips.write(tmp_path / "woven.mp4", woven, options={"x264-params": "interlaced=1"})
    with Reader(tmp_path / "woven.mp4", deinterlace=deinterlace) as reader:
        samples = list(reader.samples())
        assert reader.facts.interlaced
    assert [each.time for each in samples] == [0, 1]
    rows = samples[1].rgb.astype(int)
    comb = np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean() / np.abs(rows[2:] - rows[:-2]).mean()
    assert (comb < 0.5) == deinterlace


def test_one_picture_a_gif_and_a_bare_stream(tmp_path: Path) -> None:
    pictures = list(clips.scenes(3))
    clips.write(tmp_path / "one.mp4", pictures[:1])
    times, reader = read(tmp_path / "one.mp4")
    assert (times, reader.duration, reader.events) == ([0], 0.04, [])
    clips.write(tmp_path / "bare.h264", pictures, format="h264")
    times, reader = read(tmp_path / "bare.h264")
    assert (times, reader.duration) == ([0, 1, 2], pytest.approx(3))
    images = [Image.fromarray(each[::4, ::4]) for each in pictures[::5]]
    images[0].save(tmp_path / "few.gif", save_all=True, append_images=images[1:], duration=200)
    times, reader = read(tmp_path / "few.gif")
    assert (times, reader.duration) == ([0, 1, 2], pytest.approx(3))


MEASURE = """
import resource, sys
from declip_rt.video.reader import Reader
for path in sys.argv[2:]:
    with Reader(path, every=sys.argv[1] if sys.argv[1] == "auto" else 1.0) as reader:
        for sample in reader.samples():
            pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(every: str, *paths: Path) -> int:
    """MB of a process that reads the videos."""
    command = [sys.executable, "-c", MEASURE, every, *map(str, paths)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    short, long = tmp_path / "short.mp4", tmp_path / "long.mp4"
    pictures = list(clips.scenes(10, width=640, height=360))
    clips.write(short, pictures)
    clips.write(long, (each for _ in range(60) for each in pictures))
    for every in ("1", "auto"):
        assert peak(every, long) < peak(every, short) + 30


@pytest.mark.slow
def test_a_thousand_videos_leave_nothing(tmp_path: Path) -> None:
    clips.write(tmp_path / "one.mp4", clips.scenes(0.2))
    assert peak("1", *[tmp_path / "one.mp4"] * 1000) < peak("1", *[tmp_path / "one.mp4"] * 50) + 10


def grainy(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pictures as of a sensor, whose every frame costs bits."""
    dice = np.random.default_rng(0)
    grain = dice.normal(0, 6, (424, 704, 1))
    places = dice.integers(0, 64, (len(pictures), 2))
    return [
        np.clip(each + grain[y : y + 360, x : x + 640], 0, 255).astype(np.uint8)
        for each, (y, x) in zip(pictures, places, strict=True)
    ]


@pytest.mark.slow
def test_key_frames_alone_are_six_times_as_fast(tmp_path: Path) -> None:
    pictures = grainy(list(clips.scenes(20, width=640, height=360)))
    clips.write(tmp_path / "grain.mp4", pictures, gop=50, crf=23, options={"preset": "veryfast"})

    def seconds(**options: object) -> float:
        before = resource.getrusage(resource.RUSAGE_SELF)
        read(tmp_path / "grain.mp4", **options)
        after = resource.getrusage(resource.RUSAGE_SELF)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert seconds(every=2) > 6 * seconds(keyframes=True)
