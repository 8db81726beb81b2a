"""The commands beside `score`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from declip_rt import Bundle, __version__
from declip_rt.commands.main import COMMANDS, main
from tests.conftest import Run


def test_version_and_help(declip: Run) -> None:
    assert declip("--version").stdout.decode().split() == ["declip-rt", __version__]
    text = declip("score", "--help").stdout.decode()
    for option in (
        "--out",
        "--html",
        "--resume",
        "--prompts",
        "--semantic-prompts",
        "--device",
        "--fail-below",
        "--top",
        "exit codes",
    ):
        assert option in text


@pytest.mark.parametrize("command", ["eval", "calibrate"])
def test_help_of_the_commands_about_ratings(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    for option in (
        "DATASET",
        "--scores",
        "--score-column",
        "--head",
        "--lower-is-better",
        "--plot",
        "--out",
        "--model",
    ):
        assert option in text


def test_no_command_is_a_usage_error(declip: Run) -> None:
    assert declip().returncode == 2


def test_models_lists_shows_and_verifies(declip: Run, bundle: Bundle) -> None:
    assert declip("models").stdout == declip("models", "list").stdout
    assert b"declip-tiny" in declip("models").stdout
    shown = declip("models", "show").stdout.decode()
    assert bundle.manifest.card.summary in " ".join(shown.split())
    assert "technical SRCC" in shown
    assert "0 is dark, 1 is bright" in shown
    assert bundle.hash in declip("models", "verify", "declip-tiny").stdout.decode()


def test_a_model_says_whether_it_takes_prompts(declip: Run, prompted: Path) -> None:
    assert "own prompts: up to 62 tokens" in declip("models", "show", prompted).stdout.decode()


def test_verify_finds_an_altered_bundle(declip: Run, bundle: Bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    with (copy / "fp32.onnx").open("ab") as file:
        file.write(b"\0")
    done = declip("models", "verify", copy)
    assert done.returncode == 2
    assert b"was altered" in done.stderr


def test_starting_up_imports_nothing_heavy() -> None:
    code = "import sys, declip_rt.commands.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {
        "torch",
        "scipy",
        "matplotlib",
        "onnxruntime",
        "tokenizers",
        "pyarrow",
        "sklearn",
    }


def test_only_the_command_that_is_asked_for_is_imported() -> None:
    code = (
        "import sys; from declip_rt.commands.main import main; main(['models']); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.rpartition(".")[2] for name in done.stderr.split() if name.startswith("declip_rt.commands.")}
    assert loaded == {"main", "running", "models"}


@pytest.mark.parametrize("command", [*COMMANDS, "engines"])
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"usage: declip-rt {'plans' if command == 'engines' else command} [-h]" in capsys.readouterr().out


def test_a_command_that_is_unknown_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["rate"])
    assert "invalid choice: 'rate'" in capsys.readouterr().err
