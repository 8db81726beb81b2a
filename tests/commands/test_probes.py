"""A probe's answer, whatever its library does. tests/simulated/test_doctor.py has those that need a driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from declip_rt.commands.probes import Answer, ask


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("print('noise'); import os; os.system('echo noise')", Answer()),
        ("raise OSError('libcudart.so.13:\\n cannot open')", Answer(error="libcudart.so.13: cannot open")),
        ("raise AssertionError", Answer(error="AssertionError")),
        (
            "import os, sys; print('no such device', file=sys.stderr, flush=True); os.abort()",
            Answer(error="it ended with SIGABRT: no such device"),
        ),
        ("import os; os._exit(3)", Answer(error="it ended with exit code 3: it said nothing")),
    ],
)
def test_what_an_import_does(module: str, expected: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    assert ask("imports", "tensorrt") == expected


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("import time; time.sleep(600)")
    monkeypatch.syspath_prepend(tmp_path)
    assert ask("imports", "tensorrt", seconds=1) == Answer(error="it gave no answer in 1 s")


def test_what_lies_in_the_working_directory_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise AssertionError('of another')")
    monkeypatch.chdir(tmp_path)
    assert ask("imports", "cuda.core") == Answer()
