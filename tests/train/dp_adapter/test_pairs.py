"""Crossed pairs are crossed, self pairs are not, and systems read what they say."""

import numpy as np
import pytest
import torch

from tests.train.dp_adapter import albums
from train.dp_adapter.album import Album
from train.dp_adapter.pairs import SYSTEMS, Pairs, draw, presence


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Album:
    return Album.of(albums.source(tmp_path_factory.mktemp("photos")), albums.config().album, 0)


def parts(album: Album, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The photos and the looks of pictures."""
    return np.divmod(numbers, album.config.looks)


def test_crossed_references_share_one_thing_with_the_target(album: Album):
    pairs = draw(album, album.learnt, "crossed", 500, np.random.default_rng(0))
    (photo, look), (other, same), (this, another) = (
        parts(album, numbers) for numbers in (pairs.target, pairs.perceptual, pairs.semantic)
    )
    assert (same == look).all()
    assert (other != photo).all()
    assert (this == photo).all()
    assert (another != look).all()


def test_self_pairs_are_the_target(album: Album):
    pairs = draw(album, album.learnt, "self", 50, np.random.default_rng(0))
    assert np.array_equal(pairs.target, pairs.perceptual)
    assert np.array_equal(pairs.target, pairs.semantic)


@pytest.mark.parametrize("looks", ["learnt", "held_out"])
def test_pairs_have_the_looks_that_are_named_and_all_of_them(album: Album, looks: str):
    named = getattr(album, looks)
    pairs = draw(album, named, "crossed", 500, np.random.default_rng(0))
    for numbers in (pairs.target, pairs.perceptual, pairs.semantic):
        assert set(parts(album, numbers)[1]) == set(named)


def test_references_are_left_out_as_often_as_asked():
    there = presence(20000, 0.1, 0.05, np.random.default_rng(0))
    perceptual, semantic = (~there[name] for name in ("perceptual", "semantic"))
    assert (perceptual & ~semantic).mean() == pytest.approx(0.1, abs=0.01)
    assert (semantic & ~perceptual).mean() == pytest.approx(0.1, abs=0.01)
    assert (perceptual & semantic).mean() == pytest.approx(0.05, abs=0.01)


def features() -> dict[str, torch.Tensor]:
    return {
        name: torch.arange(6.0)[:, None] + add for name, add in (("perceptual", 10), ("semantic", 20), ("coarse", 30))
    }


PAIRS = Pairs(np.array([0, 1]), np.array([2, 3]), np.array([4, 5]))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("dp_adapter", [[12, 13], [24, 25]]),
        ("self", [[12, 13], [24, 25]]),
        ("coarse2", [[32, 33], [34, 35]]),
        ("coarse", [[33, 34]]),
    ],
)
def test_what_a_system_reads(name: str, read: list[list[float]]):
    found = SYSTEMS[name].features(features(), PAIRS)
    assert [each[:, 0, 0].tolist() for each in found] == read


@pytest.mark.parametrize(
    ("name", "read"), [("dp_adapter", [[0, 13], [24, 0]]), ("coarse2", [[0, 33], [34, 0]]), ("coarse", [[34, 33]])]
)
def test_an_absent_reference_is_zeros_or_leaves_the_mean_to_the_other(name: str, read: list[list[float]]):
    there = {"perceptual": np.array([False, True]), "semantic": np.array([True, False])}
    found = SYSTEMS[name].features(features(), PAIRS, there)
    assert [each[:, 0, 0].tolist() for each in found] == read


def test_only_self_trains_on_self_pairs():
    assert [name for name, system in SYSTEMS.items() if system.pairs == "self"] == ["self"]
