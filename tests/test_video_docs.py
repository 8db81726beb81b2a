"""What docs/video.md and docs/video-examples.md tell people to run, runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.video import clips

ROOT = Path(__file__).parents[1]
BLOCKS = [
    (page, *found)
    for page in ("video.md", "video-examples.md")
    for found in re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
]
PYTHON = [text for _, kind, text in BLOCKS if kind == "python"]
SLOW = {"torch": pytest.mark.slow}  # its import and its workers take a while
COMMANDS = [line[2:] for _, kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
# ffmpeg itself may not be there, and the live stream is not: PyAV, which is the same libraries, writes what it would.
FFMPEG = """#!{python}
import sys, av
raw = "rawvideo" in sys.argv
form = "rawvideo" if raw else "yuv4mpegpipe"
with av.open("clip.mp4") as source, av.open(sys.stdout.buffer, "w", format=form) as sink:
    stream = sink.add_stream("rawvideo" if raw else "wrapped_avframe", rate=25)
    stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
    for frame in source.decode(video=0):
        sink.mux(stream.encode(frame))
    sink.mux(stream.encode(None))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the videos that the blocks name, and an ffmpeg."""
    pictures = [*clips.scenes(3)]
    for name, crf in (("clip", 18), ("source", 8), ("a", 25), ("b", 40)):
        clips.write(tmp_path / f"{name}.mp4", pictures, crf=crf)
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(FFMPEG.format(python=sys.executable))
    program.chmod(0o755)
    return tmp_path


def test_all_ways_are_told() -> None:
    assert len(PYTHON) == 4
    assert [sum(word in command for command in COMMANDS) for word in ("--compare", "ffmpeg", "--html")] == [1, 3, 1]


def library(code: str) -> str:
    """What a block shows beside this package."""
    return next((name for name in ("cv2", "torch", "av") if f"import {name}\n" in code), "none")


@pytest.mark.parametrize("code", [pytest.param(c, id=library(c), marks=SLOW.get(library(c), ())) for c in PYTHON])
def test_python_blocks(code: str, place: Path) -> None:
    if (name := library(code)) != "none":
        pytest.importorskip(name, reason=f"NOT RUN, {name} is not installed")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert re.search(r"0\.\d{3}", done.stdout), "it prints scores"


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines(command: str, place: Path) -> None:
    real = "rtsp://" not in command and shutil.which("ffmpeg")
    folders = [str(Path(sys.executable).parent), *([] if real else [str(place / "bin")]), os.environ["PATH"]]
    env = os.environ | {"PATH": os.pathsep.join(folders)}
    done = subprocess.run(command, shell=True, cwd=place, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    if "frames -" in command:
        summary = json.loads(done.stdout.splitlines()[-1])["summary"]
        assert (summary["frames"], summary["width"], summary["height"], summary["fps"]) == (75, 320, 180, 25)
        assert summary["samples"] + summary["dropped"] == 3
    if "camera.prom" in command:
        assert 'declip_technical{stream="camera"}' in (place / "camera.prom").read_text()
