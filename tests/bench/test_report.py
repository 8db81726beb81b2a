"""What a benchmark found can be read as a table, from JSON, and in a picture."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from declip_rt import ConfigError
from declip_rt.backends.cuda.usage import Usage
from declip_rt.backends.layers import Layer, Layers
from declip_rt.bench.machine import Machine, peak_memory
from declip_rt.bench.report import Files, Latency, Range, Report, Row, aligned, number


def row(contender: str, batch: int, lanes: int, speed: float, **more: object) -> Row:
    waited = Latency(10.0 * batch, 11.0 * batch, 12.5 * batch, Range(10.0, 9.5, 10.5), 120)
    return Row(
        contender, f"cpu ({contender})", "fp32", batch, lanes, waited, Range(speed, 0.9 * speed, speed), 90, **more
    )  # type: ignore[arg-type]


@pytest.fixture
def report() -> Report:
    return Report(
        date="2026-11-24T12:00:00+00:00",
        model="declip-tiny",
        bundle="0123456789abcdef",
        views=(4, 224, 224, 3),
        machine=Machine("A CPU", 2, 0.25, (), "Linux x86_64", {"Python": "3.12.1", "numpy": "2.1.0"}),
        seconds=3.0,
        iterations=None,
        rows=(row("declip-rt", 1, 3, 100.0, matrix_share=0.5), row("declip-rt", 8, 4, 1234.5), row("ort", 1, 1, 60.0)),
        files=Files("8 JPEGs", 8, 4, 2, Range(80.0, 75.0, 81.0), 240, {"decode": 20.0, "compute": 9.5}, 0.97),
        peak_memory_mb=432.1,
        matrix_flops=1_650_000_000,
        matrix_rate=3.2e12,
        matrix_precision="fp32",
        notes=("a note",),
        errors=("torch differs",),
    )


def test_the_table(report: Report) -> None:
    lines = list(report.lines())
    text = "\n".join(lines)
    heading, *rows = lines[6:10]
    assert " ".join(heading.split()) == "batch lanes p50 ms range p90 p99 n images/s range n of matrix rate"
    assert " ".join(rows[0].split()) == "declip-rt, fp32 1 3 10.0 9.50 to 10.5 11.0 12.5 120 100 90.0 to 100 90 50%"
    assert [line.split()[-1] for line in rows[1:]] == ["-", "-"]
    assert len({len(line) for line in (heading, *rows)}) == 1
    for expected in (
        "declip-tiny (bundle 0123456789ab, 4 of 224x224), 2026-11-24",
        "A CPU, 2 cores (load 0.2 before), no NVIDIA GPU, Linux x86_64",
        "Python 3.12.1, numpy 2.1.0",
        "ort: cpu (ort)",
        "80.0 images/s (75.0 to 81.0), 240 images, 97% of 2 cores busy",
        "decode 20.0, compute 9.50",
        "peak memory: 432 MB\n",
        "matrix FLOPs: 1.65 GFLOP an image",
        "matrix rate: 3.20 TFLOP/s",
        "a note",
        "failed: torch differs",
    ):
        assert expected in text


def test_what_was_not_measured_is_left_out(report: Report) -> None:
    bare = replace(report, files=None, peak_memory_mb=None, matrix_flops=None, matrix_rate=None, notes=(), errors=())
    text = "\n".join(bare.lines())
    assert "from files" not in text
    assert "matrix FLOPs" not in text
    assert "peak memory: not known" in text


def test_a_gpu_shows_its_copies_its_memory_and_what_it_did(report: Report) -> None:
    first = report.rows[0]
    stages = {"copy in": 0.12, "compute": 1.5, "copy out": 0.01}
    usage = Usage(9, busy=0.93, watts=350.4)
    on_gpu = replace(first, gpu_memory_mb=1500.0, usage=usage, latency=replace(first.latency, stages_ms=stages))
    assert report.files is not None
    files = replace(report.files, usage=replace(usage, jpeg=0.25))
    text = "\n".join(replace(report, rows=(on_gpu, *report.rows[1:]), files=files).lines())
    assert "declip-rt, batch 1, all 3 lanes full: GPU busy 93%, 350 W\n" in text
    assert "\n  GPU busy 93%, JPEG engines 25%, 350 W\n" in text
    assert "declip-rt, batch 1, lanes 3: copy in 0.120, compute 1.50, copy out 0.0100 ms" in text
    assert "peak memory: 432 MB; on the GPU: 1500 MB" in text


def test_slow_layers_are_named_and_the_rest_added_up(report: Report) -> None:
    layers = [Layer("a" * 60, "kgen", "sm89_xmma", "FP16 LINEAR", 4.0, 0.4)]
    layers += [Layer(f"layer {i}", "Conv", "", "float 1x8", 0.1, 0.01) for i in range(60)]
    text = list(replace(report, layers=Layers("an engine", 8, 12, 10.0, tuple(layers))).lines())
    shown = text[text.index("layers of an engine: each alone, mean of 12 batches of 8") + 1 :]
    assert shown[0].split() == ["type", "format", "ms", "share"]
    assert shown[1].split() == ["a" * 49 + "…", "kgen", "sm89_xmma", "FP16", "LINEAR", "4.00", "40.0%"]
    assert shown[31].split() == ["31", "more", "3.10", "31.0%"]
    assert shown[32].split() == ["all", "61", "10.0", "100.0%"]


def test_json_and_back(report: Report) -> None:
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


@pytest.mark.parametrize("name", ["speed.png", "speed.svg"])
def test_the_picture(report: Report, tmp_path: Path, name: str) -> None:
    report.draw(tmp_path / name)
    head = (tmp_path / name).read_bytes()[:6]
    assert head.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")


def test_a_curve_for_each_contender_and_number_of_lanes(report: Report) -> None:
    assert list(report._curves()) == ["declip-rt, fp32", "ort, fp32"]
    more = (*report.rows, row("declip-rt", 1, 2, 50.0), row("declip-rt", 8, 2, 60.0))
    assert list(replace(report, rows=more)._curves()) == [
        "declip-rt, fp32, lanes 3",
        "declip-rt, fp32, lanes 4",
        "ort, fp32",
        "declip-rt, fp32, lanes 2",
    ]


def test_a_picture_that_cannot_be_written(report: Report, tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ConfigError, match="cannot write"):
        report.draw(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (9.999, "10.0"), (99.97, "100"), (1234.5, "1234"), (0, "0.00")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_columns_are_aligned() -> None:
    assert list(aligned([("a", "b", "c"), ("long", "1", "234")])) == ["a     b    c", "long  1  234"]


def test_a_machine_in_a_line(report: Report) -> None:
    assert str(report.machine) == "A CPU, 2 cores"
    assert str(Machine.here()).endswith(" cores")


def test_memory_is_that_of_this_process() -> None:
    assert 50 < (peak_memory() or 0) < 64_000
