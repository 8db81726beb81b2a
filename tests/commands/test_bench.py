"""`declip-rt bench` measures what it is asked to, and says what it could not."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from declip_rt import ConfigError
from declip_rt.bench import flops, rivals
from declip_rt.bench.report import Report
from declip_rt.commands.bench import counts, made_up
from declip_rt.commands.main import main

QUICK = ["bench", "--device", "cpu", "--batch", "1,2", "--iterations", "2", "--warmup", "0", "--size", "64x48"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices that are multiplied at once."""
    monkeypatch.setattr(flops, "SIDES", {"cpu": 64})
    monkeypatch.setattr(flops, "SECONDS", 0.0)


def read(file: Path) -> Report:
    return msgspec.json.decode(file.read_bytes(), type=Report)


def test_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, picture = tmp_path / "bench.json", tmp_path / "bench.png"
    assert main([*QUICK, "--against", "ort", "--json", str(file), "--plot", str(picture)]) == 0
    printed = capsys.readouterr()
    report = read(file)
    assert [(row.contender, row.batch) for row in report.rows] == [
        ("declip-rt", 1),
        ("declip-rt", 2),
        ("ort", 1),
        ("ort", 2),
    ]
    for row in report.rows:
        assert row.latency.p50 > 0
        assert row.latency.batches == 2 <= row.batches
        assert row.images_per_s.low <= row.images_per_s.median <= row.images_per_s.high
        assert row.matrix_share is not None
    assert [row.difference for row in report.rows[:2]] == [None, None]
    assert all(row.difference is not None and row.difference < 1e-4 for row in report.rows[2:])
    assert report.files is not None
    assert report.files.photos == "8 JPEGs of 64x48 made up on the spot"
    assert set(report.files.stages_ms) == {"read", "decode", "views", "compute"}
    assert (report.iterations, report.seconds, report.errors) == (2, None, ())
    assert report.matrix_flops == pytest.approx(2.016e9, rel=0.01)
    assert picture.read_bytes().startswith(b"\x89PNG")
    for line in report.lines():
        assert line in printed.out
    assert "declip-rt, batch 2" in printed.err


def test_layers_are_in_the_table_and_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    assert main([*QUICK, "--layers", "--quiet", "--json", str(file)]) == 0
    report, printed = read(file), capsys.readouterr().out
    assert report.layers is not None
    fastest = max(report.rows, key=lambda row: row.images_per_s.median)
    assert (report.layers.batch, report.layers.engine) == (fastest.batch, fastest.device)
    assert len(report.layers.layers) > 100
    assert f"layers of {fastest.device}: each alone, mean of 2 batches of {fastest.batch}" in printed
    assert report.layers.layers[0].name in printed


def test_own_photos_and_quiet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["bench", "--device", "cpu", "--batch", "2", "--iterations", "2", "--warmup", "0"]
    assert main([*options, "--images", str(folder), "--quiet"]) == 0
    printed = capsys.readouterr()
    assert f"from files to scores: 6 of {folder}" in printed.out
    assert printed.err == ""


def test_a_rival_that_differs_has_no_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rivals, "_limit", lambda precision: -1.0)
    file = tmp_path / "bench.json"
    assert main([*QUICK, "--against", "ort", "--json", str(file)]) == 1
    report = read(file)
    assert {row.contender for row in report.rows} == {"declip-rt"}
    assert len(report.errors) == 2
    assert "failed: cpu (plain ONNX Runtime" in capsys.readouterr().out


def test_a_photo_that_fails_leaves_the_rest(folder: Path, tmp_path: Path) -> None:
    (folder / "b.jpg").write_bytes(b"no image")
    options = ["bench", "--device", "cpu", "--batch", "2", "--iterations", "2", "--warmup", "0"]
    assert main([*options, "--images", str(folder), "--json", str(tmp_path / "a.json")]) == 1
    report = read(tmp_path / "a.json")
    assert len(report.rows) == 1
    assert report.files is None
    assert "b.jpg" in report.errors[0]


def test_without_onnx_flops_are_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main([*QUICK, "--quiet"]) == 0
    assert "matrix FLOPs: counting FLOPs: onnx cannot be imported" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch", "1,x"], "--batch 1,x: give whole numbers"),
        (["--batch", "0"], "--batch 0: give whole numbers"),
        (["--batch", ""], "give whole numbers"),
        (["--lanes", "1,2,"], "--lanes 1,2,: give whole numbers"),
        (["--lanes", "2"], "lanes are of GPUs"),
        (["--layers", "--device", "openvino"], "--layers needs --device cpu or tensorrt"),
        (["--iterations", "0"], "--iterations must be at least 1"),
        (["--seconds", "-1"], "--seconds must be 0 or more"),
        (["--seconds", "nan"], "--seconds must be 0 or more"),
        (["--size", "huge"], "--size huge: give width and height"),
        (["--images", "nowhere"], "--images nowhere: there are no images"),
        (["--against", "ort,jax"], "knows no 'jax'; choose from ort"),
        (["--against", "torch"], "python -m benchmarks.bench, in a checkout of the repository, knows torch"),
        (["--plot", "a.pdf"], "the suffix must be .png or .svg"),
        (["--json", "nowhere/a.json"], "its folder does not exist"),
        (["--precision", "fp16"], "fp16 graphs are for GPUs"),
        (["--model", "nothing"], "neither a folder nor an embedded model"),
    ],
)
def test_what_cannot_be_run(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--device", "cpu", *options]) == 2
    printed = capsys.readouterr()
    assert message in printed.err.splitlines()[-1]
    assert printed.out == ""


@pytest.mark.parametrize("options", [["--seconds", "1", "--iterations", "2"], ["--images", "a", "--size", "1x1"]])
def test_options_that_exclude_each_other(options: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bench", *options])


def test_lists_of_numbers() -> None:
    assert counts("--batch", "8,1,8") == (8, 1)
    with pytest.raises(ConfigError):
        counts("--batch", "1, 2")


def test_photos_made_up_are_like_photos(tmp_path: Path) -> None:
    paths = made_up(tmp_path, 640, 480)
    assert len({Path(path).read_bytes() for path in paths}) == len(paths) == 8
    for path in paths:
        with Image.open(path) as image:
            assert (image.size, image.format) == ((640, 480), "JPEG")
        assert 0.5 < Path(path).stat().st_size * 8 / (640 * 480) < 4, "bits a pixel"
