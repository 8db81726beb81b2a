"""Which unseen photos show an animal, a building, food or a vehicle, by their labels, and words to find them by."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from train import imagenet
from train.photos import photos


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The names of what shows a kind of thing, and of what may show it beside (content.toml).

    Its methods say whether a photo shows it: yes, no, or None where the label leaves it open.
    """

    words: tuple[tuple[str, str], ...]  # (HIGH, LOW) prompts
    imagenet: frozenset[str]
    imagenet_unclear: frozenset[str]
    coco: frozenset[str]
    coco_unclear: frozenset[str]
    oasis: frozenset[str]
    oasis_unclear: frozenset[str]
    imagenet_first: int = 0  # classes, which all are of the kind

    def is_class(self, number: int) -> bool | None:
        """number: of an ImageNet class, 0 to 999."""
        name = imagenet.classes()[number].names[0]
        return _said(number < self.imagenet_first or name in self.imagenet, name in self.imagenet_unclear)

    def is_label(self, label: str) -> bool | None:
        """label: any name of an ImageNet class. Classes that share it must agree."""
        answers = {self.is_class(number) for number in imagenet.numbers().get(label.lower(), ())}
        return answers.pop() if len(answers) == 1 else None

    def is_objects(self, names: Collection[str]) -> bool | None:
        """names: COCO's objects of a photo. Half of them, less people, must be of the kind for a yes."""
        things = {*names} - {"person"}
        of_kind = things & self.coco
        unclear = not names or "*" in self.coco_unclear or bool(of_kind or things & self.coco_unclear)
        return _said(bool(of_kind) and 2 * len(of_kind) >= len(things), unclear)

    def is_caption(self, label: str) -> bool | None:
        """label: of an OASIS photo."""
        return _said(label in self.oasis, label in self.oasis_unclear)


def _said(yes: bool, unclear: bool) -> bool | None:
    return True if yes else None if unclear else False


@dataclass(frozen=True)
class Labelled:
    """An unseen photo, and which kinds of things it shows."""

    path: Path
    shows: dict[str, bool | None]  # kind: yes, no or None


@cache
def kinds() -> dict[str, Kind]:
    text = Path(__file__).with_suffix(".toml").read_text()
    return msgspec.convert(tomllib.loads(text), dict[str, Kind])


def labelled(data: Path) -> list[Labelled]:
    """The photos of the test splits whose labels are known: ImageNet's classes, OASIS, and COCO where it is there."""
    pristine, oasis, coco = (photos(data, name, "test") for name in ("pristine", "beauty", "coco"))
    some = [
        *(Labelled(photo.path, _ask("is_label", photo.label)) for photo in pristine if photo.label),
        *(Labelled(photo.path, _ask("is_caption", photo.label)) for photo in oasis),
        *(Labelled(photo.path, _ask("is_objects", photo.label.split(", "))) for photo in coco if photo.label),
    ]
    return [photo for photo in some if any(answer is not None for answer in photo.shows.values())]


def _ask(question: str, about: str | Collection[str]) -> dict[str, bool | None]:
    return {name: getattr(kind, question)(about) for name, kind in kinds().items()}
