"""Photos and features that pictures follow."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from declip_rt import Bundle, Scorer
from declip_rt.errors import ConfigError, ImageError
from tests.conftest import encoded, picture
from tests.train.dp_adapter import features, pipelines
from tests.train.dp_adapter.conftest import Made
from train.dp_adapter.card import Card
from train.dp_adapter.references import read

SUFFIXES = [".npz", ".parquet"]


@pytest.fixture
def card(sd1: Made) -> Card:
    return Card.read(sd1.adapter)


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    paths = [tmp_path / name for name in ("a.jpg", "b#2.jpg")]
    for seed, path in enumerate(paths):
        path.write_bytes(encoded(picture(seed)))
    return [str(path) for path in paths]


def test_photos_are_read_by_the_bundle(card: Card, photos: list[str], scorer: Scorer) -> None:
    found = read({"perceptual": photos[0], "semantic": photos[1]}, card)
    assert np.allclose(found["perceptual"].feature, scorer.embed(photos[0]).perceptual, atol=1e-6)
    assert np.allclose(found["semantic"].feature, scorer.embed(photos[1]).semantic, atol=1e-6)
    assert found["semantic"].picture is not None
    assert found["semantic"].picture.shape == (260, 320, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_features_are_found_by_their_path(
    card: Card, photos: list[str], bundle: Bundle, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"features{suffix}"
    features.write(file, bundle, photos)
    found = read({"perceptual": f"{file}#{photos[0]}", "semantic": f"{file}#{photos[1]}"}, card)
    assert np.array_equal(found["perceptual"].feature, pipelines.features(0, 1)[0])
    assert np.array_equal(found["semantic"].feature, pipelines.features(11, 1)[0])
    assert found["semantic"].path == photos[1]
    assert found["semantic"].picture is not None


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("", r"has 3 rows; name one as .*#PATH, such as x.jpg, y.jpg, broken.jpg"),
        ("#z.jpg", "has 0 rows of z.jpg; name one as"),
        ("#broken.jpg", "has no feature of broken.jpg: it is truncated; take another photo"),
    ],
)
def test_a_row_that_is_none_or_several_is_an_error(
    card: Card, bundle: Bundle, tmp_path: Path, suffix: str, row: str, said: str
) -> None:
    file = tmp_path / f"features{suffix}"
    features.write(file, bundle, ["x.jpg", "y.jpg"])
    with pytest.raises(ConfigError, match=said):
        read({"semantic": f"{file}{row}"}, card)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_features_of_another_bundle_are_refused(card: Card, bundle: Bundle, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"features{suffix}"
    features.write(file, bundle, ["x.jpg"], {"model": "other", "bundle": "b" * 64})
    with pytest.raises(ConfigError, match=r"of declip-tiny \(.*, not of other \(bbbbbbbbbbbb"):
        read({"perceptual": f"{file}#x.jpg"}, card)


def test_a_photo_is_not_read_by_another_bundle(card: Card, photos: list[str], bundle: Bundle, tmp_path: Path) -> None:
    other = Path(shutil.copytree(bundle.path, tmp_path / "other"))
    text = (other / "bundle.json").read_text().replace('"declip-tiny"', '"other"', 1)
    (other / "bundle.json").write_text(text)
    with pytest.raises(ConfigError, match=r"of declip-tiny \(.*, not of other \("):
        read({"perceptual": photos[0]}, card, str(other))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_hold_no_features_are_refused(card: Card, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"features{suffix}"
    with pytest.raises(ConfigError, match=r"cannot read features from .*; write it by declip-rt embed"):
        read({"semantic": str(file)}, card)
    file.write_bytes(b"PK no features")
    with pytest.raises(ConfigError, match=r"cannot read features from .*; write it by declip-rt embed"):
        read({"semantic": str(file)}, card)


def test_a_photo_that_cannot_be_read_is_named(card: Card, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone.jpg"):
        read({"semantic": str(tmp_path / "gone.jpg")}, card)
