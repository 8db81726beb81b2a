"""`declip-rt frames` as the end of a pipe: a line a sample at once, a summary whatever ends it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from declip_rt import Scorer
from declip_rt.commands.main import main
from declip_rt.video.reader import Reader
from tests.conftest import Run
from tests.video import clips

WIDTH, HEIGHT, FPS = 160, 90, 10
PICTURES = [*clips.scenes(3, FPS, WIDTH, HEIGHT)]
RAW = b"".join(each.tobytes() for each in PICTURES)
FORMAT = ("--size", f"{WIDTH}x{HEIGHT}", "--pix", "rgb24", "--fps", FPS)


def lines(stdout: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def samples(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in found if "technical" in row]


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = found[-1]["summary"]
    return made


def y4m(pictures: list[np.ndarray]) -> bytes:
    """As `ffmpeg -f yuv4mpegpipe` writes it, by the same library."""
    made = io.BytesIO()
    with av.open(made, "w", format="yuv4mpegpipe") as container:
        stream = container.add_stream("wrapped_avframe", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return made.getvalue()


Frames = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Frames:
    """Runs the command here, on a file of the stream: its exit code, lines and what it said."""

    def run(data: bytes, *options: object) -> tuple[int, list[dict[str, Any]], str]:
        (tmp_path / "stream").write_bytes(data)
        try:
            code = main(["frames", str(tmp_path / "stream"), "--device", "cpu", *map(str, options)])
        except SystemExit as exit:
            code = int(str(exit.code))
        said = capsys.readouterr()
        return code, lines(said.out.encode()), said.err

    return run


class Live:
    """The command as a process whose input goes on."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "declip_rt", "frames", "-", "--device", "cpu", *map(str, arguments)]
        pipe = subprocess.PIPE
        env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, env=env)
        self.timer = threading.Timer(60, self.process.kill)  # so that a test that fails ends
        self.timer.start()
        assert self.process.stdin
        self.stdin = self.process.stdin

    def line(self) -> dict[str, Any]:
        assert self.process.stdout
        made: dict[str, Any] = json.loads(self.process.stdout.readline())
        return made

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        stdout, _ = self.process.communicate(timeout=30)
        return self.process.returncode, lines(stdout)


@pytest.fixture
def live() -> Iterator[type[Live]]:
    made: list[Live] = []

    class Tracked(Live):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            made.append(self)

    yield Tracked
    for each in made:
        each.timer.cancel()
        each.process.kill()


def test_a_line_a_sample_and_a_summary(declip: Run) -> None:
    done = declip("frames", "-", *FORMAT, "--device", "cpu", input=RAW)
    assert done.returncode == 0, done.stderr
    found = lines(done.stdout)
    assert [row["time"] for row in samples(found)] == [0, 1, 2]
    assert list(samples(found)[0])[:2] == ["path", "time"]
    assert list(samples(found)[0])[-3:] == ["percentile", "findings", "flags"]
    assert [(row["kind"], row["start"]) for row in found if "kind" in row] == [("scene", 1), ("scene", 2)]
    told = summary(found)
    assert (told["samples"], told["frames"], told["dropped"], told["duration"], told["error"]) == (3, 30, 0, 3, None)
    assert (told["width"], told["height"], told["fps"]) == (WIDTH, HEIGHT, FPS)
    lowest = min(samples(found), key=lambda row: row["technical"])
    assert (told["min"], told["min_time"]) == (lowest["technical"], lowest["time"])


def test_a_frame_scores_the_same_everywhere(declip: Run, scorer: Scorer, tmp_path: Path) -> None:
    """By `score`, the API and `frames`, in either order of RGB: to the bit."""
    for index in (0, 10, 20):
        Image.fromarray(PICTURES[index]).save(tmp_path / f"{index}.png")
    wanted = [row["technical"] for row in lines(declip("score", tmp_path, "--device", "cpu", "--out", "-").stdout)]
    assert wanted == [scorer.score(PICTURES[index]).technical for index in (0, 10, 20)]
    swapped = b"".join(each[..., ::-1].tobytes() for each in PICTURES)
    for data, pix in ((RAW, "rgb24"), (swapped, "bgr24")):
        options = ("--size", f"{WIDTH}x{HEIGHT}", "--pix", pix, "--fps", FPS, "--device", "cpu")
        found = lines(declip("frames", "-", *options, input=data).stdout)
        assert [row["technical"] for row in samples(found)] == wanted


@pytest.mark.parametrize("color", ["auto", "bt709"])
def test_planes_score_as_the_reader_has_them(frames: Frames, scorer: Scorer, tmp_path: Path, color: str) -> None:
    """As YUV4MPEG2, as planes and as NV12, against files of the same frames: to the bit."""
    (tmp_path / "clip.y4m").write_bytes(centered := y4m(PICTURES))
    clips.write(tmp_path / "clip.mp4", PICTURES, fps=FPS)
    planes = [frame.to_ndarray().tobytes() for frame in _frames(tmp_path / "clip.mp4")]
    header = centered[: centered.index(b"\n")].replace(b"C420jpeg", b"C420mpeg2") + b"\n"
    left = header + b"".join(b"FRAME\n" + each for each in planes)
    size = WIDTH * HEIGHT
    woven = [each[:size] + np.frombuffer(each[size:], np.uint8).reshape(2, -1).T.tobytes() for each in planes]
    raw = ("--size", f"{WIDTH}x{HEIGHT}", "--fps", FPS, "--pix")
    inputs = {
        "clip.y4m": [(centered, ())],
        "clip.mp4": [(left, ()), (b"".join(planes), (*raw, "yuv420p")), (b"".join(woven), (*raw, "nv12"))],
    }
    for name, given in inputs.items():
        with Reader(tmp_path / name, color=color) as reader:
            wanted = [scorer.score(each.rgb).technical for each in reader.samples()]
            facts = reader.facts
        for data, options in given:
            _, found, _ = frames(data, *options, "--color", color)
            assert [row["technical"] for row in samples(found)] == wanted, (name, options)
            assert (summary(found)["matrix"], summary(found)["color_assumed"]) == (facts.matrix, facts.color_assumed)


def _frames(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def test_lines_come_while_the_stream_goes_on_and_sigterm_ends_it(live: type[Live]) -> None:
    run = live(*FORMAT, "--every", "0.2", "--name", "gate")
    for index in range(0, 10, 2):
        run.stdin.write(PICTURES[index].tobytes() + PICTURES[index + 1].tobytes())
        assert run.line()["time"] == pytest.approx(index / FPS)
    run.process.send_signal(signal.SIGTERM)
    code, found = run.end()
    assert code == 0
    assert (summary(found)["path"], summary(found)["samples"], summary(found)["error"]) == ("gate", 5, None)


def test_sigterm_ends_it_before_the_first_frame(live: type[Live]) -> None:
    run = live()
    assert b"model" in run.process.stderr.readline()  # type: ignore[union-attr]
    time.sleep(0.3)  # the signal is taken from here on
    run.process.send_signal(signal.SIGTERM)
    code, found = run.end()
    assert code == 0
    assert (summary(found)["samples"], summary(found)["frames"]) == (0, 0)


def test_a_writer_that_must_not_wait_does_not(live: type[Live]) -> None:
    """Frames come faster than any CPU scores them; the pipe takes them all the same, and the newest is scored."""
    count = 3000
    run = live(*FORMAT, "--every", "0.1", "--behind", "drop", "--threads", 1)
    frame = PICTURES[0].tobytes()
    run.stdin.write(frame * 2)
    assert run.line()["time"] == 0
    began = time.monotonic()
    for _ in range(count // 50):
        run.stdin.write(frame * 50)
    run.stdin.close()
    wrote = time.monotonic() - began
    run.process.stdin = None
    code, found = run.end()
    took = time.monotonic() - began
    assert code == 0
    told = summary(found)
    assert told["frames"] == count + 2
    assert told["samples"] + told["dropped"] == count + 2
    assert told["dropped"] > 100
    assert samples(found)[-1]["time"] == pytest.approx((count + 1) / FPS), "the last is the newest"
    assert wrote > 0
    assert took < 30


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (RAW[:-WIDTH], FORMAT, "ends within frame 29, after 43,040 of 43,200 bytes"),
        (y4m(PICTURES)[:-100] + b"x" * 200, (), "frame 30 begins with"),
        (b"", (), "ended before its first frame"),
    ],
)
def test_a_broken_stream_is_an_error_and_a_summary(
    frames: Frames, data: bytes, options: tuple[Any, ...], reason: str
) -> None:
    code, found, _ = frames(data, *options)
    assert code == 1
    *rest, error, last = found
    assert reason in error["error"]
    assert error["error"] == last["summary"]["error"]
    assert len(samples(rest)) == (3 if data else 0), "what came before is scored"


def test_alarms_begin_and_end_as_events(frames: Frames) -> None:
    gray = np.full((HEIGHT, WIDTH, 3), 127, np.uint8)
    data = b"".join(each.tobytes() for each in [*PICTURES[:10], *[gray] * 30, *PICTURES[:10]])
    options = (*FORMAT, "--every", "0.5", "--alert")
    _, found, _ = frames(data, *options, "contrast<0.1 for 1s")
    quiet = {row["time"] for row in samples(found) if row["contrast"] < 0.1}
    assert quiet == {1, 1.5, 2, 2.5, 3, 3.5}
    alarms = [row for row in found if row.get("kind") == "alert"]
    assert [(row["start"], row["end"], row["detail"]) for row in alarms] == [
        (1, None, "contrast<0.1 for 1s"),
        (1, 4, "contrast<0.1 for 1s"),
    ]
    assert summary(found)["alerts"] == 1
    code, found, _ = frames(data, *options, "contrast<0.1 for 1s", "--exit-on-alert")
    assert (code, summary(found)["samples"]) == (1, 5)
    assert frames(data, *options, "contrast<0 for 1s", "--exit-on-alert")[0] == 0


def test_freezes_are_events_and_counted_for_prometheus(frames: Frames, tmp_path: Path) -> None:
    path = tmp_path / "gate.prom"
    data = b"".join(each.tobytes() for each in [*PICTURES[:10], *[PICTURES[9]] * 20, *PICTURES[10:20]])
    _, found, _ = frames(data, *FORMAT, "--name", "gate", "--prometheus-textfile", path)
    (freeze,) = (row for row in found if row.get("kind") == "freeze")
    assert (freeze["start"], freeze["end"]) == (pytest.approx(0.9), pytest.approx(3))
    told = dict(line.rsplit(" ", 1) for line in path.read_text().splitlines() if line[0] != "#")
    assert float(told['declip_freeze_seconds_total{stream="gate"}']) == pytest.approx(2.1)
    assert told['declip_frames_total{stream="gate"}'] == "40"
    assert float(told['declip_technical{stream="gate"}']) == pytest.approx(samples(found)[-1]["technical"])
    assert abs(float(told['declip_last_frame_timestamp_seconds{stream="gate"}']) - time.time()) < 60
    assert summary(found)["freeze_seconds"] == pytest.approx(2.1)


def test_a_freeze_counts_while_it_goes_on(live: type[Live], tmp_path: Path) -> None:
    path = tmp_path / "gate.prom"
    run = live(*FORMAT, "--prometheus-textfile", path)
    run.stdin.write(b"".join(each.tobytes() for each in [*PICTURES[:10], *[PICTURES[9]] * 11]))
    run.line()
    run.line()
    run.process.send_signal(signal.SIGTERM)
    run.end()
    assert "declip_freeze_seconds_total 1.2" in path.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_goes_on_before_the_summary(live: type[Live], number: signal.Signals) -> None:
    run = live(*FORMAT, "--every", "0.1")
    for picture in [*PICTURES[:5], *[PICTURES[4]] * 11]:
        run.stdin.write(picture.tobytes())
    for _ in range(15):
        run.line()
    run.process.send_signal(number)
    code, found = run.end()
    assert code == 0
    freeze = found[-2]
    assert (freeze["kind"], freeze["start"], freeze["end"]) == ("freeze", pytest.approx(0.4), pytest.approx(1.6))
    assert summary(found)["freeze_seconds"] == pytest.approx(1.2)


def test_events_are_those_of_a_video_of_the_same_pictures(frames: Frames, tmp_path: Path) -> None:
    """Black that stands still, a freeze, and one that is broken by a frame; counted alike, too."""
    black, blink = np.zeros_like(PICTURES[0]), PICTURES[29].copy()
    blink[:30, :60] ^= 64
    parts = [*PICTURES[:5], *[black] * 12, *PICTURES[5:10], *[PICTURES[9]] * 10, *PICTURES[20:30]]
    pictures = [*parts, *[PICTURES[29]] * 8, blink, *[PICTURES[29]] * 8, *PICTURES[25:], *[black] * 8]
    (tmp_path / "clip.y4m").write_bytes(data := y4m(pictures))
    with Reader(tmp_path / "clip.y4m") as reader:
        list(reader.samples())
    wanted = [(round(each.start, 6), round(each.end, 6), each.kind, each.detail) for each in reader.events]
    assert [kind for _, _, kind, _ in wanted if kind != "scene"] == ["black", "freeze", "freeze", "black"]
    _, found, _ = frames(data)
    events = [row for row in found if "kind" in row]
    told = [(round(row["start"], 6), round(row["end"], 6), row["kind"], row["detail"]) for row in events]
    assert sorted(told) == wanted
    seconds = sum(end - start for start, end, kind, _ in wanted if kind == "freeze")
    assert summary(found)["freeze_seconds"] == pytest.approx(seconds)


def test_a_named_pipe_is_a_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[RAW]).start()
    assert main(["frames", str(tmp_path / "pipe"), *map(str, FORMAT), "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]["samples"] == 3


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "no YUV4MPEG2; of raw frames give --size, --pix and --fps; files of videos are for declip-rt video"),
        (("--pix", "rgb24"), "raw frames need --size, --pix and --fps: size and fps not given"),
        (FORMAT[:2], "pix and fps not given"),
        (FORMAT[:4], "fps not given"),
        ((*FORMAT[:4], "--fps", "0"), "--fps must be frames a second"),
        ((*FORMAT[:4], "--fps", "nan"), "--fps must be frames a second"),
        ((*FORMAT[:4], "--fps", "inf"), "--fps must be frames a second"),
        ((*FORMAT[2:], "--size", "0x10"), "--size must be of 1 to"),
        ((*FORMAT[2:], "--size", "99999x99999"), "--size must be of 1 to"),
        (("--size", "160"), "is no size; give one such as 1920x1080"),
        (("--every", "0"), "is no time between samples"),
        ((*FORMAT, "--alert", "sharpnes<1"), "choose one of technical"),
        ((*FORMAT, "--alert", "sharp"), "give one such as 'technical<0.35 for 5s'"),
        ((*FORMAT, "--exit-on-alert"), "--exit-on-alert needs an --alert"),
        ((*FORMAT, "--prometheus-textfile", "figures.csv"), "the suffix must be .prom or .txt"),
    ],
)
def test_options_that_are_wrong_end_with_2(frames: Frames, options: tuple[Any, ...], reason: str) -> None:
    code, found, said = frames(RAW, *options)
    assert (code, found) == (2, [])
    assert reason in said
    assert "--alert" in options or "device cpu" not in said, "it is told before the model is opened"
