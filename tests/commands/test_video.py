"""`declip-rt video` as its users run it: tables, resumes, bad inputs, exit codes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from declip_rt import Scorer, VideoScorer
from declip_rt.commands.main import main
from declip_rt.output import target
from tests.conftest import Run
from tests.video.clips import garbled, remux, scenes, write

TIMELINE = (
    *("path", "time", "technical", "aesthetic", "brightness", "colorfulness", "contrast", "sharpness"),
    *("noisiness", "compression", "depth_of_field", "percentile", "findings", "flags"),
)
SUMMARY = (
    *("path", "duration", "samples", "mean", "p5", "worst10", "hysteresis", "min", "min_time", "codec", "width"),
    *("height", "fps", "vfr", "bit_depth", "matrix", "transfer", "range", "color_assumed", "rotation", "sar"),
    *("interlaced", "hdr", "error", "model", "bundle", "precision", "sampling", "size", "mtime_ns"),
)
EVENTS = ("path", "start", "end", "kind", "detail")
Row = dict[str, object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write(folder / "good.mp4", scenes(4.0))
    frames = list(scenes(4.0))
    frames[50:75] = [np.zeros_like(frames[0])] * 25
    write(folder / "dark.mp4", frames)
    (folder / "text.mp4").write_text("no video")
    return folder


@pytest.fixture
def declip(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command in this process, which has its libraries already."""

    def run(*arguments: object) -> subprocess.CompletedProcess[bytes]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:  # of argparse
            code = int(error.code or 0)
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, out.encode(), err.encode())

    return run


@pytest.fixture
def clips(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "clips"))


def rows(path: Path) -> list[Row]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return list(pyarrow.parquet.read_table(path).to_pylist())


def outputs(folder: Path, suffix: str) -> dict[str, Path]:
    return {option: folder / f"{option[2:]}{suffix}" for option in ("--out", "--summary", "--events")}


def given(files: dict[str, Path]) -> list[object]:
    return [part for pair in files.items() for part in pair]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_row_a_sample_a_row_a_file_and_a_row_an_event(declip: Run, clips: Path, tmp_path: Path, suffix: str) -> None:
    files = outputs(tmp_path, suffix)
    done = declip("video", *sorted(clips.iterdir()), *given(files))
    assert done.returncode == 1, "text.mp4 failed"
    timeline, summary, events = (rows(file) for file in files.values())
    assert tuple(timeline[0]) == TIMELINE
    assert tuple(summary[0]) == SUMMARY
    assert tuple(events[0]) == EVENTS
    assert [Path(str(row["path"])).name for row in summary] == ["dark.mp4", "good.mp4", "text.mp4"]
    assert [float(str(row["time"])) for row in timeline] == [0, 1, 2, 3] * 2
    assert "not a video" in str(summary[2]["error"])
    assert not summary[2]["duration"]
    assert not summary[1]["error"]
    assert summary[1]["hdr"] == "-"
    assert str(summary[1]["color_assumed"]).lower() == "true"
    kinds = {
        name: [str(e["kind"]) for e in events if str(e["path"]).endswith(name)] for name in ("dark.mp4", "good.mp4")
    }
    assert set(kinds["good.mp4"]) == {"scene"}
    assert "black" in kinds["dark.mp4"]
    assert b"2 scored, 1 failed" in done.stderr


def test_the_rows_are_those_of_the_api(declip: Run, clips: Path, tmp_path: Path, scorer: Scorer) -> None:
    files = outputs(tmp_path, ".jsonl")
    options = ("--every", "0.5s", "--start", "0:01", "--end", "3", "--device", "cpu")
    assert declip("video", clips / "good.mp4", *options, *given(files)).returncode == 0
    score = VideoScorer(scorer).score(clips / "good.mp4", every=0.5, start=1.0, end=3.0)
    timeline, (summary,), events = (rows(file) for file in files.values())
    for name, values in score.heads.items():
        assert [row[name] for row in timeline] == values.tolist()
    assert [row["time"] for row in timeline] == score.times.round(6).tolist()
    pooled = score.pooled["technical"]
    assert [summary[name] for name in ("mean", "p5", "worst10", "hysteresis", "min", "min_time")] == [
        *(pooled.mean, pooled.p5, pooled.worst10, pooled.hysteresis, pooled.min, pooled.min_time)
    ]
    assert summary["samples"] == len(score.times)
    assert summary["sampling"] == "every 0.5 s, from 1 s, to 3 s"
    assert [(e["start"], e["end"], e["kind"], e["detail"]) for e in events] == [
        (round(e.start, 6), round(e.end, 6), e.kind, e.detail) for e in score.events
    ]


def test_without_files_it_prints_a_table(declip: Run, clips: Path) -> None:
    done = declip("video", clips / "dark.mp4", clips / "text.mp4", clips / "missing.mp4", "--fail-below", "0.99")
    assert done.returncode == 1
    header, dark, text, missing = done.stdout.decode().splitlines()
    assert header.split()[:3] == ["name", "seconds", "technical"]
    assert "below 0.99" in dark
    assert "1 black" in dark
    assert "error: not a video" in text
    assert "error: no such file" in missing


@pytest.mark.parametrize(("option", "name"), [("--out", "time"), ("--summary", "hysteresis"), ("--events", "kind")])
def test_a_dash_is_json_lines_on_stdout(declip: Run, clips: Path, option: str, name: str) -> None:
    done = declip("video", clips / "good.mp4", option, "-")
    assert done.returncode == 0
    assert all(name in json.loads(line) for line in done.stdout.splitlines())
    assert done.stdout


def test_the_headline_decides_about_failure(declip: Run, clips: Path) -> None:
    for limit, code in (("0.05", 0), ("0.95", 1)):
        assert declip("video", clips / "good.mp4", "--fail-below", limit).returncode == code


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_run_goes_on_where_it_stopped(declip: Run, clips: Path, tmp_path: Path, suffix: str) -> None:
    files = outputs(tmp_path, suffix)
    good, dark = clips / "good.mp4", clips / "dark.mp4"
    assert declip("video", good, *given(files)).returncode == 0
    first = rows(files["--out"])
    done = declip("video", good, dark, *given(files), "--resume", "--html", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    assert b"2 scored, 0 failed, 1 of them kept from the last run" in done.stderr
    assert len(done.stdout.splitlines()) == 1 + 2, "the table shows the kept rows too"
    assert rows(files["--out"])[: len(first)] == first
    whole = outputs(tmp_path / "whole", suffix)
    (tmp_path / "whole").mkdir()
    assert declip("video", good, dark, *given(whole)).returncode == 0
    for option, file in files.items():
        assert rows(file) == rows(whole[option])
    assert (tmp_path / "r.html").read_text().count("<article") == 2


def test_what_a_killed_run_left_of_a_file_is_dropped(declip: Run, clips: Path, tmp_path: Path) -> None:
    files = outputs(tmp_path, ".jsonl")
    good, dark = clips / "good.mp4", clips / "dark.mp4"
    assert declip("video", good, dark, *given(files)).returncode == 0
    before = {option: file.read_text() for option, file in files.items()}
    lines = {option: text.splitlines(keepends=True) for option, text in before.items()}
    files["--summary"].write_text(lines["--summary"][0])  # killed while it wrote the samples of dark.mp4
    files["--out"].write_text("".join(lines["--out"][:6]) + lines["--out"][6][:20])
    files["--events"].write_text("".join(line for line in lines["--events"] if "good" in line))
    assert declip("video", good, dark, *given(files), "--resume").returncode == 0
    assert {option: file.read_text() for option, file in files.items()} == before


def test_changed_files_and_other_sampling_are_scored_again(declip: Run, clips: Path, tmp_path: Path) -> None:
    files = outputs(tmp_path, ".jsonl")
    good, dark = clips / "good.mp4", clips / "dark.mp4"
    assert declip("video", good, dark, *given(files)).returncode == 0
    shutil.copy(dark, good)
    done = declip("video", good, dark, *given(files), "--resume")
    assert b"1 of them kept" in done.stderr
    by_name = {Path(str(row["path"])).name: row for row in rows(files["--summary"])}
    assert by_name["good.mp4"]["min"] == by_name["dark.mp4"]["min"]
    done = declip("video", good, *given(files), "--resume", "--every", "2s")
    assert b"kept" not in done.stderr
    assert [row["sampling"] for row in rows(files["--summary"])] == ["every 1 s", "every 2 s"]
    assert len(rows(files["--out"])) == 4 + 2, "rows of other files stay"


def test_outputs_are_replaced_only_when_asked(declip: Run, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    good = clips / "good.mp4"
    assert declip("video", good, "--out", out).returncode == 0
    before = out.read_bytes()
    done = declip("video", good, "--out", out)
    assert done.returncode == 2
    assert b"--resume goes on with them, --overwrite starts again" in done.stderr
    assert out.read_bytes() == before
    assert declip("video", good, "--out", out, "--overwrite", "--every", "2").returncode == 0
    assert len(rows(out)) == 2


def test_options_at_odds_are_refused_before_anything_is_scored(declip: Run, clips: Path, tmp_path: Path) -> None:
    good, summary = clips / "good.mp4", tmp_path / "s.csv"
    for arguments, message in (
        ((good, "--out", "-", "--events", "-"), "--out and --events both write to standard output"),
        ((good, "--resume", "--out", tmp_path / "t.csv"), "--resume goes on with the files that --summary has"),
        ((good, "--resume", "--overwrite", "--summary", summary), "choose --resume or --overwrite"),
        ((good, "--overwrite"), "--overwrite replaces the rows of a file"),
        ((good, "--out", tmp_path / "t.txt"), "the suffix must be .csv, .jsonl or .parquet"),
        ((good, "--vtt", tmp_path / "t.txt"), "the suffix must be .vtt"),
        ((good, "--out", summary, "--summary", summary), "name one file"),
        ((good, "--resume", "--summary", summary, "--html", tmp_path / "r.html"), "give it with --out and --events"),
        ((clips,), "is a folder; give its videos"),
        ((good, clips / "dark.mp4", "--vtt", tmp_path / "t.vtt"), "--vtt is of one video, and here are 2"),
        ((good, "--fps", "2", "--every", "1"), "--every: not allowed with argument --fps"),
        ((good, "--keyframes", "--every", "2"), "--every: not allowed with argument --keyframes"),
        ((good, "--keyframes", "--fps", "2"), "--fps: not allowed with argument --keyframes"),
        ((good, "--start", "1:90"), "minutes and seconds behind a colon are below 60"),
        ((good, "--end", "1:60:00"), "minutes and seconds behind a colon are below 60"),
        ((good, good, "--compare", "--overwrite"), "give it with --summary FILE"),
        ((good, good, "--compare", "--strict"), "--strict does not go with --compare"),
        ((good, clips, "--compare"), "is a folder; give its videos"),
        ((good, "--every", "soon"), "'soon' is no time"),
        ((good, "--every", "0"), "--every must be seconds, more than 0"),
        ((good, "--start", "3", "--end", "2"), "--start must be at least 0 and --end beyond it"),
        ((good, "--reference", clips / "text.mp4"), "--reference"),
    ):
        done = declip("video", *arguments)
        assert done.returncode == 2, arguments
        assert message in done.stderr.decode()
        assert b"Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.csv"))


@pytest.mark.parametrize("wrong", [("--every", "0"), ("--fps", "0"), ("--fps", "nan"), ("--start", "4", "--end", "3")])
@pytest.mark.parametrize("begun", ["--overwrite", "--resume"])
def test_a_wrong_value_leaves_the_rows_that_are_there(
    declip: Run, clips: Path, tmp_path: Path, begun: str, wrong: tuple[str, ...]
) -> None:
    files = outputs(tmp_path, ".csv")
    assert declip("video", clips / "good.mp4", *given(files)).returncode == 0
    before = [file.read_bytes() for file in files.values()]
    done = declip("video", clips / "good.mp4", *given(files), begun, *wrong)
    assert done.returncode == 2
    assert b"model" not in done.stderr, "it is told before the model is opened"
    assert [file.read_bytes() for file in files.values()] == before


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("left", [0, 3])
def test_a_video_whose_samples_are_gone_is_scored_again(
    declip: Run, clips: Path, tmp_path: Path, suffix: str, left: int
) -> None:
    files = outputs(tmp_path, suffix)
    shown = (clips / "good.mp4", *given(files), "--html", tmp_path / "r.html")
    assert declip("video", *shown).returncode == 0
    whole, timeline = rows(files["--out"]), files["--out"]
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(timeline)[:left], timeline)
    else:
        lines = timeline.read_text().splitlines(keepends=True)
        timeline.write_text("".join(lines[: left + (suffix == ".csv")]))
    done = declip("video", *shown, "--resume")
    assert done.returncode == 0, done.stderr
    assert b"kept" not in done.stderr
    assert rows(timeline) == whole
    assert len(rows(files["--summary"])) == 1
    assert b"1 of them kept" in declip("video", *shown, "--resume").stderr


def test_a_summary_without_its_timeline_is_not_gone_on_with(declip: Run, clips: Path, tmp_path: Path) -> None:
    files = outputs(tmp_path, ".csv")
    assert declip("video", clips / "good.mp4", "--summary", files["--summary"]).returncode == 0
    done = declip("video", clips / "good.mp4", *given(files), "--resume")
    assert done.returncode == 2
    assert b"lacks the rows of what --summary has" in done.stderr


def test_an_output_that_another_run_writes_is_left_alone(declip: Run, clips: Path, tmp_path: Path) -> None:
    with target.locked(tmp_path / "e.csv"):
        done = declip("video", clips / "good.mp4", "--events", tmp_path / "e.csv", "--out", tmp_path / "t.csv")
    assert done.returncode == 2
    assert b"is being written by process" in done.stderr
    assert not (tmp_path / "t.csv").exists()


def test_a_reference_of_earlier_rows_sets_the_percentiles(declip: Run, clips: Path, tmp_path: Path) -> None:
    good, out = clips / "good.mp4", tmp_path / "t.parquet"
    few = declip("video", good, "--reference", out)
    assert few.returncode == 2
    assert declip("video", good, "--every", "0.1", "--out", out).returncode == 0
    summary = tmp_path / "s.jsonl"
    done = declip("video", good, "--every", "0.1", "--reference", out, "--out", "-")
    assert done.returncode == 0
    ranks = [json.loads(line)["percentile"] for line in done.stdout.splitlines()]
    assert np.mean(ranks) == pytest.approx(50, abs=2)
    assert declip("video", good, "--reference", out, "--summary", summary).returncode == 0
    assert len(rows(summary)[0]["reference"]) == 12  # type: ignore[arg-type]


def test_an_address_is_no_file(declip: Run) -> None:
    done = declip("video", "http://127.0.0.1:9/x.mp4", "--summary", "-")
    assert done.returncode == 1
    assert "--allow-network" in json.loads(done.stdout)["error"] or "allow_network" in json.loads(done.stdout)["error"]


def test_what_lies_at_an_address_is_scored_again(declip: Run, clips: Path, tmp_path: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Stays silent."""

    remux(clips / "good.mp4", clips / "good.ts", lambda _, packet: packet)
    summary = tmp_path / "s.jsonl"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=clips)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        run = ("video", f"http://127.0.0.1:{server.server_address[1]}/good.ts", "--allow-network", "--summary", summary)
        assert declip(*run).returncode == 0
        done = declip(*run, "--resume")
        server.shutdown()
    assert done.returncode == 0
    assert b"kept" not in done.stderr
    assert len(rows(summary)) == 1


def test_a_damaged_video_is_an_error_where_it_is_asked_for(declip: Run, clips: Path, tmp_path: Path) -> None:
    broken = remux(clips / "good.mp4", tmp_path / "broken.mp4", garbled(1.2, 1.6))
    for option, code in (((), 0), (("--strict",), 1)):
        done = declip("video", broken, clips / "good.mp4", "--summary", "-", *option)
        assert done.returncode == code
        errors = [json.loads(line)["error"] for line in done.stdout.splitlines()]
        assert errors[1] is None
        assert (errors[0] or "").startswith("corrupt at 1.") == bool(code)


@pytest.mark.parametrize("command", ["video", "frames"])
def test_what_has_no_effect_is_not_offered(declip: Run, command: str) -> None:
    for option in ("--timeout=5", "--memory=8G", "--decode-scale=auto", "--no-icc", "--decoder=gpu"):
        done = declip(command, "x", option)
        assert done.returncode == 2
        assert b"unrecognized arguments" in done.stderr


def test_subtitles_begin_where_reading_does(declip: Run, clips: Path, tmp_path: Path) -> None:
    """And not where the picture began that stands there."""
    made = ("--vtt", tmp_path / "t.vtt")
    assert declip("video", clips / "dark.mp4", "--start", "1.01", "--end", "2", *made).returncode == 0
    assert "00:00:01.010 -->" in (tmp_path / "t.vtt").read_text()


def test_a_player_gets_subtitles(declip: Run, clips: Path, tmp_path: Path) -> None:
    assert declip("video", clips / "dark.mp4", "--vtt", tmp_path / "t.vtt").returncode == 0
    text = (tmp_path / "t.vtt").read_text()
    assert text.startswith("WEBVTT - declip-rt\n\n00:00:00.000 --> 00:00:01.000\ntechnical 0.")
    assert "00:00:02.000 --> 00:00:03.000\nblack: no light" in text
    assert declip("video", clips / "dark.mp4", "--vtt", tmp_path / "t.vtt").returncode == 0, "its own is replaced"


def test_the_work_of_others_is_replaced_only_when_asked(declip: Run, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "t.vtt").write_text("WEBVTT\n\nby hand")
    done = declip("video", clips / "dark.mp4", "--vtt", tmp_path / "t.vtt")
    assert done.returncode == 2
    assert "and not by this command: --overwrite replaces it" in done.stderr.decode()
    assert (tmp_path / "t.vtt").read_text() == "WEBVTT\n\nby hand"
    done = declip("video", clips / "dark.mp4", "--vtt", tmp_path / "t.vtt", "--out", tmp_path / "o.csv", "--overwrite")
    assert done.returncode == 0
    assert "by hand" not in (tmp_path / "t.vtt").read_text()


@pytest.mark.parametrize("option", ["--out", "--summary", "--events"])
def test_a_failure_is_told_where_the_rows_go_to_stdout(declip: Run, tmp_path: Path, option: str) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.jpg")
    done = declip("video", tmp_path / "photo.jpg", option, "-", "--quiet")
    assert done.returncode == 1
    assert "photo.jpg: not a video" in done.stderr.decode()
    assert "without --allow-network" in done.stderr.decode()
    assert "declip-rt score" in done.stderr.decode(), "it may be a photo"


def test_standard_input_is_for_frames(declip: Run) -> None:
    done = declip("video", "-")
    assert done.returncode == 2
    assert "declip-rt frames -" in done.stderr.decode()


def test_a_video_that_is_away_keeps_its_rows(declip: Run, clips: Path, tmp_path: Path) -> None:
    files = outputs(tmp_path, ".jsonl")
    assert declip("video", clips / "good.mp4", *given(files)).returncode == 0
    os.rename(clips / "good.mp4", clips / "away.mp4")
    done = declip("video", clips / "good.mp4", *given(files), "--resume", "--html", tmp_path / "r.html")
    assert done.returncode == 0
    assert len(rows(files["--out"])) == 4
    assert "no picture" in (tmp_path / "r.html").read_text()
