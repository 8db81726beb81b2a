"""What all scoring commands take is checked and handed on in one place."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from declip_rt.commands import running
from declip_rt.commands.main import main
from declip_rt.commands.running import Running, printed_log
from tests.conftest import Run


def test_every_option_reaches_the_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def scorer(model: object, device: object, **options: object) -> SimpleNamespace:
        given.update(options, model=model, device=device)
        return SimpleNamespace(bundle=SimpleNamespace(name="m"), engine="cpu")

    monkeypatch.setattr(running, "Scorer", scorer)
    for field in dataclasses.fields(Running):
        if field.name != "quiet":
            Running(**{field.name: field}).open()
            assert given[field.name] is field, field.name


@pytest.mark.parametrize("name", ["batch", "lanes", "threads", "workers"])
def test_counts_are_at_least_1_and_named_as_flags(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(folder), f"--{name}", "0"]) == 2
    assert capsys.readouterr().err == f"declip-rt: --{name} must be at least 1, not 0\n"


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(running, "LINE_EVERY", 0.01)
    with Running().progress(3) as bar:
        for _ in range(3):
            time.sleep(0.02)
            bar.update()
    said = capsys.readouterr().err
    assert "3 of 3 images, " in said
    assert "\r" not in said
    with Running().progress(3) as bar:
        monkeypatch.setattr(running, "LINE_EVERY", 30)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("quiet", [False, True])
def test_quiet_prints_nothing_of_the_log(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    made = Running(device="cpu", quiet=quiet)
    with printed_log(quiet):
        made.open().close()
    assert made.progress(3).disable or not quiet
    assert ("model declip-tiny, device cpu (ONNX Runtime" in capsys.readouterr().err) == (not quiet)
    made.open().close()
    assert capsys.readouterr().err == "", "the library prints nothing by itself"


def test_the_command_line_knows_them(declip: Run, folder: Path) -> None:
    options = ("--threads", "1", "--precision", "fp32", "--decode-scale", "auto", "--out", "-")
    assert declip("score", folder / "a.jpg", *options).returncode == 0
    assert b"has no int8 graph" in declip("score", folder / "a.jpg", "--precision", "int8").stderr
