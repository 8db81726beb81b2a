"""The word lists tell what labels show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training import Recipe
from train import content, imagenet
from train.photos import SETS

ANIMAL, BUILDING, FOOD, VEHICLE = content.kinds().values()


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("tench", "animal"),
        ("tabby", "animal"),
        ("black grouse", "animal"),
        ("hen", "animal"),
        ("starfish", "animal"),
        ("church", "building"),
        ("palace", "building"),
        ("yurt", "building"),
        ("pizza", "food"),
        ("Granny Smith", "food"),
        ("burrito", "food"),
        ("convertible", "vehicle"),
        ("schooner", "vehicle"),
        ("airliner", "vehicle"),
        ("steam locomotive", "vehicle"),
        ("abacus", None),
        ("volcano", None),
        ("teapot", None),
        ("violin", None),
    ],
)
def test_a_class_is_of_its_kind_alone(label: str, kind: str | None) -> None:
    assert [name for name, some in content.kinds().items() if some.is_label(label)] == ([kind] if kind else [])


def test_each_kind_has_its_share_of_the_thousand_classes() -> None:
    counts = {name: sum(kind.is_class(i) is True for i in range(1000)) for name, kind in content.kinds().items()}
    assert counts["animal"] == 398
    assert 15 <= counts["building"] <= 40
    assert 35 <= counts["food"] <= 60
    assert 50 <= counts["vehicle"] <= 80
    several = [i for i in range(1000) if sum(kind.is_class(i) is True for kind in content.kinds().values()) > 1]
    assert not several, "no class is of two kinds"


@pytest.mark.parametrize("name", content.kinds())
def test_every_name_is_that_of_a_class(name: str) -> None:
    """A misspelt name would say that its photos do not show the kind."""
    kind = content.kinds()[name]
    first = {one.names[0] for one in imagenet.classes()}
    assert kind.imagenet | kind.imagenet_unclear <= first
    for sure, unclear in (
        (kind.imagenet, kind.imagenet_unclear),
        (kind.coco, kind.coco_unclear),
        (kind.oasis, kind.oasis_unclear),
    ):
        assert not sure & unclear
    assert len(kind.words) >= 3


def test_a_name_of_two_classes_is_open_where_they_differ() -> None:
    assert ANIMAL.is_label("crane") is None, "the bird, or the machine"
    assert ANIMAL.is_label("panda") is True, "both are animals"
    assert ANIMAL.is_label("missile") is False
    assert ANIMAL.is_label("no such class") is None


def test_what_may_stand_beside_is_open() -> None:
    assert ANIMAL.is_label("oxcart") is None
    assert VEHICLE.is_label("oxcart") is True
    assert BUILDING.is_label("streetcar") is None
    assert FOOD.is_label("soup bowl") is None


def test_objects() -> None:
    assert ANIMAL.is_objects(["person", "horse"]) is True
    assert ANIMAL.is_objects(["dog", "couch", "chair", "tv"]) is None, "in a corner of it, perhaps"
    assert VEHICLE.is_objects(["car", "truck", "traffic light"]) is True
    assert FOOD.is_objects(["dining table", "chair"]) is None
    assert FOOD.is_objects(["skis", "person"]) is False
    assert BUILDING.is_objects(["clock"]) is None, "COCO names no buildings"
    assert FOOD.is_objects([]) is None


def test_captions() -> None:
    assert ANIMAL.is_caption("Penguins") is True
    assert BUILDING.is_caption("Skyscraper") is True
    assert BUILDING.is_caption("Street") is None
    assert VEHICLE.is_caption("Galaxy") is False


def test_labelled_photos_are_unseen(recipe: Recipe, tmp_path: Path) -> None:
    found = {photo.path.relative_to(recipe.data).as_posix(): photo.shows for photo in content.labelled(recipe.data)}
    animals = [path for path, shows in found.items() if shows["animal"]]
    assert animals
    assert all(path.startswith("pristine") and int(path[-7:-4]) % 3 == 0 for path in animals), "great white sharks"
    assert not any(path.startswith("live_challenge") for path in found), "which have no labels"


def test_coco_is_read_where_it_is_there(recipe: Recipe, tmp_path: Path) -> None:
    for part in recipe.data.iterdir():
        (tmp_path / part.name).symlink_to(part)
    (tmp_path / "coco256").mkdir()
    lines = [f"{i:03}.jpg,train,64,64,personx2;dogx1" for i in range(10)]
    (tmp_path / SETS["coco"].path).write_text("\n".join(["image,split,width,height,labels", *lines]))
    photos = [photo for photo in content.labelled(tmp_path) if "coco256" in str(photo.path)]
    assert len(photos) == 2
    assert all(photo.shows["animal"] and photo.path.parent.name == "images" for photo in photos)
