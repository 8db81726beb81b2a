"""Albums: which photos, which looks, and that nothing is made twice."""

import msgspec
import numpy as np
import pytest
import torch

from declip_rt import Bundle
from declip_rt.errors import ConfigError
from tests.train.dp_adapter import albums
from train.distortions.kind import Distortion
from train.dp_adapter.album import Album
from train.dp_adapter.config import AlbumConfig
from train.dp_adapter.encoder import Encoder
from train.i2t.manifest import Row

CONFIG = albums.config().album


@pytest.fixture
def album(tmp_path) -> Album:
    return Album.of(albums.source(tmp_path), CONFIG, 0)


def test_looks_to_learn_and_looks_that_are_held_out_are_all_looks(album: Album):
    assert [*album.learnt, *album.held_out] == list(range(6))
    assert len(album.held_out) == 2
    assert len(set(album.looks)) == 6


def test_photos_are_drawn_by_the_seed(tmp_path):
    source = albums.source(tmp_path)
    names = [[row.image for row in Album.of(source, CONFIG, seed).rows] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    assert len(set(names[0])) == 4


def test_a_picture_is_its_photo_under_its_look(album: Album):
    number = album.number(np.array([2]), np.array([3]))
    assert np.array_equal(album.pictures(number)[0], album.pictures(range(len(album)))[2 * 6 + 3])


def test_variants_and_photos_of_other_names_are_no_photos(tmp_path):
    source = albums.source(tmp_path)
    variant = Row("photo0.png", edits=(Distortion("blur", 2.0),))
    taken = Album.of(type(source)((*source.rows, variant), tmp_path), AlbumConfig(side=16, looks=6, held_out=2), 0)
    assert len(taken.rows) == albums.COUNT
    with pytest.raises(ConfigError, match=r"album.photos is 4, but there are 1"):
        Album.of(source, msgspec.structs.replace(CONFIG, named="photo3"), 0)


def test_looks_must_be_left_on_both_sides(tmp_path):
    with pytest.raises(ConfigError, match=r"album.held_out is 5 of 6 looks"):
        Album.of(albums.source(tmp_path), msgspec.structs.replace(CONFIG, held_out=5), 0)


def test_features_are_made_once(album: Album, bundle: Bundle, tmp_path, monkeypatch: pytest.MonkeyPatch):
    first = album.features(Encoder(bundle), tmp_path / "features")
    monkeypatch.setattr(Encoder, "__call__", None)
    second = album.features(Encoder(bundle), tmp_path / "features")
    assert {name: tuple(value.shape) for name, value in first.items()} == {
        "perceptual": (24, 768),
        "semantic": (24, 768),
        "coarse": (24, 768),
        "scores": (24, len(bundle.heads)),
    }
    assert all(torch.equal(first[name], second[name]) for name in first)
