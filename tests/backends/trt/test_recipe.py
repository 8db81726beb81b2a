"""Recipes are data whose mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from declip_rt import ConfigError
from declip_rt.backends.trt.recipe import Recipe

ENGINES = Path(__file__).parents[3] / "engines"


def test_those_that_ship_can_be_read() -> None:
    found = {path.name: Recipe.read(path) for path in ENGINES.glob("*.toml")}
    assert found["fp16.toml"] == Recipe(), "the default"
    assert found["fp32.toml"].graph == "fp32"
    assert found["fp8.toml"].graph == "fp8"
    assert found["rtx.toml"].library == "tensorrt_rtx"
    readme = (ENGINES / "README.md").read_text()
    for name in (*found, *Recipe.__struct_fields__):
        assert f"`{name}`" in readme


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch = 3", "unknown field `batch`"),
        ("batches = []", "length >= 1"),
        ("batches = [0]", ">= 1"),
        ('graph = "int8"', "Invalid enum value 'int8'"),
        ("optimization_level = 6", "<= 5"),
        ("max_aux_streams = -1", ">= 0"),
        ("library = ", "Invalid value"),
        ('library = "tensorrt_rtx"\nhardware_compatible = true', "build plans of tensorrt_rtx ahead of time"),
        ('library = "tensorrt_rtx"\nversion_compatible = true', "version_compatible is for tensorrt; build plans of"),
        ('library = "tensorrt_rtx"\nstripped = true', "stripped is for tensorrt; build plans of"),
        ("stripped = true\nversion_compatible = true", "leave out stripped or version_compatible"),
        ('hardware_compatible = "hopper_plus"', "Invalid enum value 'hopper_plus'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        Recipe.read(tmp_path / "r.toml")
    assert "r.toml" in str(caught.value)


def test_hardware_compatible_is_true_or_says_how_far(tmp_path: Path) -> None:
    found = []
    for value in ("true", '"ampere_plus"', '"same_capability"', "false"):
        (tmp_path / "r.toml").write_text(f"hardware_compatible = {value}")
        found.append(Recipe.read(tmp_path / "r.toml"))
    assert found[0] == found[1] != found[2]
    assert [recipe.travels for recipe in found] == [True, True, True, False]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml"):
        Recipe.read(tmp_path / "none.toml")


def test_one_that_ships_is_found_by_its_name_and_a_file_of_that_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Recipe.find("portable").hardware_compatible
    assert Recipe.find(ENGINES / "portable.toml") == Recipe.find("portable")
    (tmp_path / "portable").write_text("batches = [5]")
    assert Recipe.find("portable").batches == (5,)


def test_a_name_that_is_no_recipe_gets_those_that_ship() -> None:
    with pytest.raises(ConfigError, match=r"no recipe fastest: .* fp16, fp32, fp8, portable, rtx"):
        Recipe.find("fastest")
