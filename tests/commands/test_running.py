"""What all scoring commands take is checked and handed on in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from declip_rt import ConfigError
from declip_rt.commands.running import Settings
from tests.conftest import Run


def test_everything_reaches_the_scorer(capsys: pytest.CaptureFixture[str]) -> None:
    with Settings(device="cpu", batch=3, workers=2, threads=1, precision="fp32", decode_scale="auto").open() as scorer:
        assert (scorer.workers, scorer._engine.batch, scorer._least) == (2, 3, 1024)
    assert "fp32" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["batch", "workers", "threads"])
def test_counts_are_at_least_1(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--{name} must be at least 1, not 0"):
        Settings(**{name: 0}).check_counts()


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(device="cpu", quiet=True)
    settings.open().close()
    assert settings.progress(3).disable
    assert capsys.readouterr().err == ""


def test_the_command_line_knows_them(declip: Run, folder: Path) -> None:
    options = ("--threads", "1", "--precision", "fp32", "--decode-scale", "auto", "--out", "-")
    assert declip("score", folder / "a.jpg", *options).returncode == 0
    assert b"has no int8 graph" in declip("score", folder / "a.jpg", "--precision", "int8").stderr
