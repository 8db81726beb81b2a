"""An image belongs to the scorer from the moment that its iterator gives it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from PIL import Image, ImageSequence

from declip_rt import ImageError, ImageLike, Scorer
from tests.conftest import encoded, picture

FRAMES = [picture(seed) for seed in range(40)]


def refilled(buffer: np.ndarray, given: ImageLike) -> Iterator[ImageLike]:
    for frame in FRAMES:
        buffer[:] = frame
        yield given


def encoded_into_one() -> Iterator[ImageLike]:
    buffer = bytearray()
    for frame in FRAMES:
        buffer[:] = encoded(frame, quality=100)
        yield buffer  # type: ignore[misc]  # what a reader of a socket may give


def in_one_film() -> Iterable[ImageLike]:
    file, frames = io.BytesIO(), [Image.fromarray(frame) for frame in FRAMES]
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:])
    return ImageSequence.Iterator(Image.open(file))


def one_buffer(kind: str) -> Iterable[ImageLike]:
    buffer = np.empty_like(FRAMES[0])
    height, width = buffer.shape[:2]
    if kind == "array":
        return refilled(buffer, buffer)
    if kind == "view":
        return refilled(buffer, buffer[:])
    if kind == "pillow":
        padded = np.empty((height, width, 4), np.uint8)  # Pillow shares no memory of three channels
        return refilled(padded[..., :3], Image.frombuffer("RGBX", (width, height), padded, "raw", "RGBX", 0, 1))
    if kind == "dlpack":
        torch = pytest.importorskip("torch", reason="NOT RUN, torch is not installed")
        return refilled(buffer, torch.from_numpy(buffer))
    return in_one_film() if kind == "film" else encoded_into_one()


@pytest.mark.parametrize("kind", ["array", "view", "pillow", "dlpack", "film"])
def test_what_its_owner_changes_is_scored_as_it_was(scorer: Scorer, kind: str) -> None:
    assert list(scorer.score_many(one_buffer(kind))) == list(scorer.score_many(FRAMES))


def test_encoded_bytes_that_change_are_scored_as_they_were(scorer: Scorer) -> None:
    assert list(scorer.score_many(one_buffer("bytes"))) == [scorer.score(encoded(f, quality=100)) for f in FRAMES]


def test_one_lazily_opened_image_may_be_given_many_times(scorer: Scorer) -> None:
    image = Image.open(io.BytesIO(encoded(FRAMES[3], "PNG")))
    assert set(map(repr, scorer.score_many([image] * 30))) == {repr(scorer.score(FRAMES[3]))}


def test_an_image_that_cannot_be_taken_is_an_error_of_its_own(scorer: Scorer) -> None:
    torn = Image.open(io.BytesIO(encoded(FRAMES[0], "PNG")[:-2000]))
    wrong = np.zeros((4, 4), np.uint8)
    found = list(scorer.score_many([FRAMES[0], torn, wrong, FRAMES[1]], return_errors=True))
    assert [isinstance(one, ImageError) for one in found] == [False, True, True, False]
    assert [one.index for one in found if isinstance(one, ImageError)] == [1, 2]
