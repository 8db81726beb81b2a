"""What docs/dp_adapter.md tells people to run, runs."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from tests.conftest import encoded, picture
from tests.train.dp_adapter.conftest import Made
from train.dp_adapter import export, generate
from train.dp_adapter.card import Card

PAGE = (Path(__file__).parents[3] / "docs" / "dp_adapter.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line[2:] for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
MODULES = {"train.dp_adapter.generate": generate, "train.dp_adapter.export": export}


@pytest.fixture
def place(sd1: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the page names; its Stable Diffusion is a small one."""
    shutil.copytree(sd1.base, tmp_path / "stable-diffusion-v1-5" / "stable-diffusion-v1-5")
    shutil.copytree(sd1.adapter, tmp_path / "my-adapter")
    for seed, name in enumerate(("look.jpg", "content.jpg")):
        (tmp_path / name).write_bytes(encoded(picture(seed)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_lines_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        python, flag, module, *words = shlex.split(command)
        assert (python, flag) == ("python", "-m")
        monkeypatch.setattr("sys.argv", [module, *words])
        assert MODULES[module].main() == 0
    assert {"picture.png", "grid.png"} <= {path.name for path in place.iterdir()}
    assert Card.read(place / "my-adapter").tokens is not None


def test_plain_diffusers_draws(place: Path, sd1: Made) -> None:
    (code,) = (text for kind, text in BLOCKS if kind == "python")
    exec(code, {})
    assert np.asarray(Image.open(place / "picture.png")).std() > 1


def test_every_field_of_the_card_is_told(sd1: Made) -> None:
    told = [
        name for row in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", PAGE, re.MULTILINE) for name in row.split("`")[1::2]
    ]
    assert told == [field.name for field in msgspec.structs.fields(Card)]
