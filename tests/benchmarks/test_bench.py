"""`python -m benchmarks.bench` measures torch beside declip-rt, as `declip-rt bench` measures ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks import bench
from declip_rt.bench import flops
from declip_rt.bench.report import Report
from export.__main__ import export
from tests.training import once

QUICK = ["--device", "cpu", "--batch", "1", "--iterations", "2", "--warmup", "0", "--size", "64x48"]


@pytest.fixture
def exported(vit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "vit-bundle", lambda folder: export(vit, folder, None))


def test_torch_is_measured_beside_the_others(
    vit: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flops, "SIDES", {"cpu": 64})
    monkeypatch.setattr(flops, "SECONDS", 0.0)
    file = tmp_path / "bench.json"
    line = [*QUICK, "--model", str(exported), "--against", "torch,ort", "--checkpoint", str(vit), "--json", str(file)]
    assert bench.run([*line, "--precision", "fp32"]) == 0
    report = msgspec.json.decode(file.read_bytes(), type=Report)
    assert [row.contender for row in report.rows] == ["declip-rt", "torch", "ort"]
    assert all(row.difference is not None and row.difference < 1e-3 for row in report.rows[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against", "jax"], "--against knows no 'jax'; choose from torch, torch-compile, ort\n"),
        (["--against", "ort,torch-compile"], "--against torch-compile needs --checkpoint"),
    ],
)
def test_what_cannot_be_run(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run([*QUICK, *options]) == 2
    assert message in capsys.readouterr().err
