"""`declip-rt video SOURCE A B --compare`: a row an encode, a table or a file, errors as rows."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import pytest

from declip_rt import Bundle, ConfigError
from declip_rt.commands.compare import columns_of, compare
from declip_rt.commands.main import main
from declip_rt.commands.running import Running
from declip_rt.video.compare import Comparer, Comparison
from tests.video import clips

PICTURES = [*clips.scenes(3)]
RUNNING = Running(device="cpu")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A source, a good encode, a bad one that begins 0.4 s late, and no video."""
    folder = tmp_path_factory.mktemp("videos")
    clips.write(folder / "source.mp4", PICTURES, crf=4)
    clips.write(folder / "good.mp4", PICTURES, crf=8)
    clips.write(folder / "bad.mp4", PICTURES[10:], crf=45)
    (folder / "text.mp4").write_text("no video")
    return [str(folder / f"{name}.mp4") for name in ("source", "good", "bad", "text")]


def test_a_table_with_a_line_an_encode(videos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(RUNNING, videos) == 1, "one of them is no video"
    head, good, bad, text = capsys.readouterr().out.splitlines()
    assert " ".join(head.split()) == "encode technical, encode - source XPSNR dB SSIM worst seconds verdict"
    assert "good.mp4" in good
    assert good.endswith("no difference that this model can tell")
    assert bad.endswith("worse")
    assert "error: not a video" in text


def test_rows_have_all_that_was_found(
    videos: list[str], tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.csv"
    assert compare(RUNNING, videos[:3], summary=str(out)) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3, "the table is printed, too"
    with out.open() as file:
        good, bad = csv.DictReader(file)
    assert list(good) == list(columns_of(bundle).types)
    assert (float(good["offset"]), float(bad["offset"])) == (0, -0.4)
    assert float(bad["duration"]) == pytest.approx(2.6)
    assert float(good["xpsnr"]) > float(bad["xpsnr"]) + 10
    for row in (good, bad):
        assert (row["model"], row["bundle"]) == (bundle.name, bundle.hash)
        for head in bundle.heads:
            low, mean, high = (float(row[f"{head.name}_{each}"]) for each in ("low", "delta", "high"))
            assert low <= mean <= high
        assert 0 < float(row["p5"]) <= float(row["hysteresis"]) < 1
    assert [float(each) for each in bad["worst"].split(", ")] != []
    with pytest.raises(ConfigError, match="has rows: --overwrite starts again"):
        compare(RUNNING, videos[:3], summary=str(out))
    assert compare(RUNNING, videos[:2], summary=str(out), overwrite=True) == 0
    assert len(out.read_text().splitlines()) == 2


def test_json_lines_on_stdout_and_an_offset_that_is_said(
    videos: list[str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "declip_rt")
    assert compare(RUNNING, [videos[0], videos[2]], summary="-") == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["path"], row["source"], row["verdict"]) == (videos[2], videos[0], "worse")
    assert "bad.mp4: shows the same 0.400 s earlier than its source" in caplog.text


def test_a_row_is_written_once_its_encode_is_compared(
    videos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, compared = tmp_path / "rows.csv", Comparer.compare
    lines: list[int] = []

    def count(self: Comparer, encode: str) -> Comparison:
        lines.append(len(out.read_text().splitlines()))
        if len(lines) == 3:
            raise KeyboardInterrupt
        return compared(self, encode)

    monkeypatch.setattr(Comparer, "compare", count)
    with pytest.raises(KeyboardInterrupt):
        compare(RUNNING, [*videos[:3], videos[1]], summary=str(out))
    assert lines == [1, 2, 3]
    assert len(out.read_text().splitlines()) == 3


def test_another_film_is_an_error(videos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips.write(tmp_path / "other.mp4", [clips.photo("rocket", 320, 180)] * 50)
    assert compare(RUNNING, [videos[0], str(tmp_path / "other.mp4")], summary="-") == 1
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert "does not show what its source shows" in row["error"]
    assert row["verdict"] is None


def test_little_of_a_source_is_said(
    videos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    clips.write(tmp_path / "short.mp4", PICTURES[:3], crf=51)
    assert compare(RUNNING, [videos[0], str(tmp_path / "short.mp4")], summary="-") == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert row["technical_delta"] < -0.02
    assert row["verdict"] == "no difference that this model can tell"
    assert "0.1 of the 3.0 s of its source were compared" in caplog.text
    assert "1 moments tell no difference" in caplog.text
    caplog.clear()
    assert compare(RUNNING, videos[:2], summary="-") == 0
    assert "were compared" not in caplog.text


def test_a_source_that_cannot_be_read_fails_each_encode(videos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(RUNNING, [videos[3], *videos[:2]], summary="-") == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 2
    assert all(row["error"].startswith(f"its source, {videos[3]}: not a video") for row in rows)


def test_it_is_an_option_of_video(videos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run = ["video", *videos[:2], "--compare", "--device", "cpu", "--quiet"]
    assert main([*run, "--summary", "-", "--fps", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 6
    for option in (["--html", "page.html"], ["--keyframes"], ["--every", "auto"], ["--start", "1"]):
        assert main([*run, *option]) == 2
        assert f"{option[0]} " in capsys.readouterr().err
    assert main([*run, "--fps", "0"]) == 2


def test_globs_name_encodes(videos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The source is no encode of itself unless it is named again."""
    every = str(Path(videos[0]).parent / "[sg]o*.mp4")
    for names, encodes in (([every], [videos[1]]), ([videos[0]], [videos[0]])):
        run = ["video", videos[0], *names, "--compare", "--summary", "-", "--device", "cpu"]
        assert main(run) == 0
        assert [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()] == encodes


def test_a_source_alone_is_nothing_to_compare(videos: list[str]) -> None:
    with pytest.raises(ConfigError, match="takes a source and its encodes"):
        compare(RUNNING, videos[:1])
    with pytest.raises(ConfigError, match="the suffix must be"):
        compare(RUNNING, videos[:2], summary="rows.txt")
