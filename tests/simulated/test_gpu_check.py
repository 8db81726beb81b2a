"""`make gpu-check` on a simulated GPU: it runs what it can, says what it could not, and writes both."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorrt

from benchmarks import gpu_check
from benchmarks.contenders import Score
from benchmarks.gpu_check import Check, Model, NotRun
from declip_rt import Bundle, EngineError
from tests.simulated.conftest import Simulation


def test_a_run(gpu: Simulation, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "tests", lambda clock, check: check.said.append("are run by make test"))
    monkeypatch.setattr(gpu_check, "BATCHES", "1,4")
    monkeypatch.setattr(gpu_check, "BUSY", 0.1)
    monkeypatch.setattr(gpu_check, "SECONDS", 0.2)
    aims = {name: bounds if "memory" in name else (None, None) for name, bounds in gpu_check.AIMS.items()}
    monkeypatch.setattr(gpu_check, "AIMS", aims)  # how fast a simulated device is depends on the machine
    monkeypatch.setattr(sys, "argv", ["", "--bundle", str(bundle.path), "--stress", "0.5", "--out", str(tmp_path)])
    assert gpu_check.main() == 0, "no check failed"
    found = json.loads((tmp_path / "gpu-simulated-gpu.json").read_text())
    checks = {check["name"]: check for check in found["checks"]}
    assert checks["the kernels are built"]["state"] == "passed"
    assert checks["declip-rt bench, tensorrt"]["figures"]["declip-rt, images/s"] > 0
    assert checks["declip-rt bench, tensorrt"]["figures"]["p99 over p50 at batch 1"] >= 1
    assert checks["from files to scores"]["state"] == checks["beside compiled torch"]["state"] == "not run"
    assert checks["stress"]["state"] == "passed", checks["stress"]
    assert "engine over compiled torch" in checks["aims without a figure"]["said"]
    page = (tmp_path / "gpu-simulated-gpu.md").read_text()
    assert "| from files to scores | not run |" in page


def test_one_check_alone_on_an_engine_that_is_not_here(
    gpu: Simulation, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["", "--bundle", str(bundle.path), "--out", str(tmp_path), "--device", "cuda", "--only", "bench"]
    monkeypatch.setattr(sys, "argv", line)
    assert gpu_check.main() == 0
    bench, aims = json.loads((tmp_path / "gpu-simulated-gpu.json").read_text())["checks"]
    assert (bench["name"], bench["state"]) == ("declip-rt bench, cuda", "not run")
    assert "no CUDA provider" in bench["said"][0]
    assert set(aims["said"]) == set(gpu_check.AIMS)


@pytest.mark.parametrize(("only", "exports"), [("kernels", 0), ("busy", 1)])
def test_a_model_is_exported_for_figures_alone(
    only: str, exports: int, gpu: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Model] = []
    monkeypatch.setattr(Model, "exported", lambda self, folder, check: made.append(self) or self)
    monkeypatch.setattr(Model, "busy", lambda self, check: None)
    monkeypatch.setattr(sys, "argv", ["", "--out", str(tmp_path), "--only", only])
    assert gpu_check.main() == 0
    assert len(made) == exports


@pytest.mark.parametrize(("missing", "state"), [("nncf", "passed"), ("onnxscript", "not run")])
def test_what_an_export_needs(missing: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is quantised, so NNCF need not be there."""
    monkeypatch.setattr(gpu_check.importlib.util, "find_spec", lambda name: None if name == missing else name)
    monkeypatch.setattr(gpu_check, "random_model", lambda name, folder: folder / "declip.pt")
    monkeypatch.setitem(sys.modules, "export.__main__", SimpleNamespace(export=lambda *_: None))
    model = Model(None, None, "tensorrt", gpu_check.Clock())
    assert Check("the model").run(lambda check: model.exported(tmp_path, check)).state == state


def test_a_check_that_breaks_takes_no_other_along(
    gpu: Simulation, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found before is written already."""
    written: list[list[str]] = []

    def broken(*_: object) -> None:
        raise AssertionError("a library's own")

    monkeypatch.setattr(gpu_check, "write", lambda path, name, checks: written.append([each.name for each in checks]))
    for name in ("bench", "busy", "stress", "end_to_end", "rivals"):
        monkeypatch.setattr(Model, name, broken)
    monkeypatch.setattr(gpu_check, "tests", broken)
    monkeypatch.setattr(sys, "argv", ["", "--bundle", str(bundle.path), "--out", str(tmp_path)])
    assert gpu_check.main() == 1
    assert [len(names) for names in written] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_check_takes_half_of_the_time_that_is_left(bundle: Bundle) -> None:
    assert 299 < gpu_check.Clock().share <= 300
    check = Check("bench").run(Model(None, bundle.path, "tensorrt", gpu_check.Clock(minutes=0.1)).bench)
    assert check.state == "not run"
    assert "the 0.1 minutes are over" in check.said[0]


def test_a_word_that_no_check_has_is_refused(
    gpu: Simulation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["", "--only", "bench", "--only", "benhc"])
    with pytest.raises(SystemExit):
        gpu_check.main()
    assert (
        "--only benhc: no check has this word; there are: the kernels are built, tests/gpu" in capsys.readouterr().err
    )


def test_an_engine_that_cannot_be_imported_is_not_taken(
    gpu: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpu_check.installed_engine() == "tensorrt"
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.11: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    assert gpu_check.installed_engine() == "rtx"


@pytest.mark.parametrize("pace", [2e-6, 1.0])
def test_files_are_scored_in_one_go(pace: float, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DataLoader starts once, and scores as many as the time allows. pace: seconds that a file takes."""
    now, calls = [0.0], list[int]()

    def contender(*_: object, **__: object) -> Score:
        def score(paths: Sequence[str]) -> list[float]:
            calls.append(len(paths))
            now[0] += len(paths) * pace
            return []

        return score

    monkeypatch.setattr(gpu_check, "ours", contender)
    monkeypatch.setattr(gpu_check, "torch_loader", contender)
    model = Model(bundle.path, bundle.path, "tensorrt", gpu_check.Clock())
    monkeypatch.setattr(gpu_check.time, "perf_counter", lambda: now[0])
    check = Check("files").run(model.end_to_end)
    most = gpu_check.IMAGES if pace < 1 else 150
    assert [*calls[:2], *calls[3:5]] == [128, gpu_check.FIRST_IMAGES] * 2
    assert all(0.9 * most < count <= most for count in (calls[2], calls[5]))
    assert check.figures["from JPEG files over a torch DataLoader"] == pytest.approx(1)


def test_an_aim_that_is_missed_fails_the_check() -> None:
    def slow(check: Check) -> None:
        check.figures["engine over compiled torch"] = 1.2

    check = Check("speed").run(slow)
    assert (check.state, check.said) == ("failed", ["engine over compiled torch should be at least 1.3"])


def test_an_engine_that_is_wrong_fails_and_one_that_is_missing_is_not_run(
    gpu: Simulation, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt.faults.add("moved")
    monkeypatch.setenv("SIMULATED_FAULTS", "moved")  # for the processes that it starts
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k parity_gate")
    bench, tests = (
        Check("bench").run(Model(None, bundle.path, "tensorrt", gpu_check.Clock()).bench),
        Check("tests").run(partial(gpu_check.tests, gpu_check.Clock())),
    )
    assert (bench.state, tests.state) == ("failed", "failed")
    assert "does not score as the reference does" in bench.said[0]
    assert any("[tensorrt]" in line for line in tests.said if line.startswith("failed: "))
    assert [line for line in tests.said if line.startswith("skipped: ") and "no CUDA provider" in line]


@pytest.mark.parametrize(
    ("error", "state"), [(NotRun("no torch"), "not run"), (EngineError("lost"), "failed"), (KeyError("row"), "failed")]
)
def test_what_stops_a_check_is_said(error: Exception, state: str) -> None:
    def stopped(check: Check) -> None:
        raise error

    check = Check("speed").run(stopped)
    assert check.state == state
    assert str(error) in check.said[0]
