"""A configuration file is whole, or the error names what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from declip_rt import ConfigError
from tests.training import CONFIG
from train.config import Config
from train.dp_adapter import config as dp_adapter

SHIPPED = sorted((Path(__file__).parents[2] / "train" / "configs").glob("*.toml"))
ADAPTERS = [path for path in SHIPPED if path.stem.startswith("dp-adapter")]


@pytest.mark.parametrize("path", [path for path in SHIPPED if path not in ADAPTERS], ids=lambda path: path.stem)
def test_shipped_configurations_are_read(path: Path) -> None:
    assert Config.read(path).views.size > 0


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.stem)
def test_those_of_adapters_are_read(path: Path) -> None:
    assert dp_adapter.Config.read(path).album.side > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seed = 7", "seed = 7\nsead = 8"), "sead"),
        (("steps = 4", 'steps = "four"'), "steps"),
        (('model = "test-tower"', ""), "model"),
        (("short_side = 64", "short_side = 0"), "short_side"),
        (("seed = 7", "seed 7"), "cannot use"),
    ],
)
def test_errors_name_the_key(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.replace(*change))
    with pytest.raises(ConfigError, match=message):
        Config.read(tmp_path / "c.toml")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        Config.read(tmp_path / "none.toml")
