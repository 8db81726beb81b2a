"""dp_adapter.json: what an adapter fits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from declip_rt import Bundle
from declip_rt.errors import ConfigError
from tests.train.dp_adapter import pipelines
from tests.train.dp_adapter.conftest import Made
from train.dp_adapter.card import NAME, Card, Declip, written


@pytest.fixture
def adapter(sd1: Made, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(sd1.adapter, tmp_path / "adapter"))


def test_it_says_what_the_adapter_reads_and_fits(sd1: Made, bundle: Bundle) -> None:
    card = Card.read(sd1.adapter)
    assert card.declip == Declip("declip-tiny", bundle.hash, 768, "l2")
    assert (card.base.name, card.base.unet) == ("sd1", "UNet2DConditionModel")
    assert (card.base.cross_attention_dim, card.base.cross_attentions) == (24, 4)
    assert [branch.scale for branch in card.branches] == [1.0, 1.0]
    assert [branch.weights.file for branch in card.branches] == ["perceptual.safetensors", "semantic.safetensors"]


def test_its_own_base_fits_and_another_is_refused_with_both_names(sd1: Made) -> None:
    card = Card.read(sd1.adapter)
    card.check_base(pipelines.unet("sd1"), "another name of the same")
    wanted = (
        r"trained on sd1 \(4 .* of cross_attention_dim 24\) and does not fit mine \(4 .* of cross_attention_dim 32\)"
    )
    with pytest.raises(ConfigError, match=wanted):
        card.check_base(pipelines.unet("sd2"), "mine")


def test_a_base_of_the_same_width_with_fewer_attentions_is_refused(sd1: Made) -> None:
    """diffusers would take the first matrices, which belong elsewhere."""
    card = Card.read(sd1.adapter)
    card = replace(card, base=replace(card.base, cross_attentions=6))
    with pytest.raises(ConfigError, match=r"sd1 \(6 cross-attentions .* fit mine \(4 cross-attentions .*; give a base"):
        card.check_base(pipelines.unet("sd1"), "mine")


@pytest.mark.parametrize("change", [{"name": "other"}, {"sha256": "a" * 64}, {"features": 512}])
def test_another_declip_is_refused_with_both_names(sd1: Made, bundle: Bundle, change: dict[str, Any]) -> None:
    card, own = Card.read(sd1.adapter), Declip.of(bundle)
    card.check_declip(own)
    other = replace(own, **change)
    with pytest.raises(ConfigError, match=r"features of declip-tiny \(.*, 768 .*, not of .*; give that bundle") as told:
        card.check_declip(other)
    assert f"not of {other};" in str(told.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda card: card.pop("base"), "missing required field `base`"),
        (lambda card: card.update(colour=1), "unknown field `colour`"),
        (lambda card: card.update(schema=2), "this version reads schema 1"),
        (lambda card: card["declip"].update(sha256="no"), "declip.sha256"),
        (lambda card: card["semantic"].update(scale=-1), "semantic.scale"),
        (lambda card: card["semantic"]["weights"].update(file="../x.safetensors"), "no file beside it"),
        (lambda card: card["semantic"]["weights"].update(file="gone.safetensors"), "cannot read .*gone.safetensors"),
    ],
)
def test_a_card_that_is_not_whole_is_refused(adapter: Path, change: Callable[[dict[str, Any]], Any], said: str) -> None:
    card = msgspec.json.decode((adapter / NAME).read_bytes())
    change(card)
    (adapter / NAME).write_bytes(msgspec.json.encode(card))
    with pytest.raises(ConfigError, match=said):
        Card.read(adapter)


def test_an_altered_file_is_refused(adapter: Path) -> None:
    with (adapter / "semantic.safetensors").open("ab") as file:
        file.write(b" ")
    with pytest.raises(ConfigError, match=r"semantic.safetensors was altered: sha256 is .*; copy or train"):
        Card.read(adapter)


def test_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*dp_adapter.json: No such file.*give a folder that"):
        Card.read(tmp_path)


def test_an_adapter_takes_the_place_of_an_older_one_whole_or_not_at_all(adapter: Path) -> None:
    before = {file.name: file.read_bytes() for file in adapter.iterdir()}
    with pytest.raises(ZeroDivisionError), written(adapter) as partial:
        _ = (partial / NAME).write_text("half") // 0
    assert {file.name: file.read_bytes() for file in adapter.iterdir()} == before
    with written(adapter) as partial:
        (partial / NAME).write_text("new")
    assert {file.name: file.read_text() for file in adapter.iterdir()} == {NAME: "new"}
    assert [each.name for each in adapter.parent.iterdir()] == [adapter.name]


def test_a_run_that_is_killed_while_it_replaces_an_adapter_leaves_the_older_one(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace_once(source: Path, target: Path, move: Callable[[Path, Path], None] = os.replace) -> None:
        if source.suffix == ".partial":
            raise KeyboardInterrupt
        move(source, target)

    before = Card.read(adapter)
    monkeypatch.setattr(os, "replace", replace_once)
    with pytest.raises(KeyboardInterrupt), written(adapter) as partial:
        (partial / NAME).touch()
    assert Card.read(adapter.with_name("adapter.old")) == before


def test_other_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match="is no adapter's folder; give a new one"), written(tmp_path):
        pass
    assert (tmp_path / "photo.jpg").exists()
