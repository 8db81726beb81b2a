"""Pictures at chosen times, and what happens between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from declip_rt.video.reader import Reader
from tests.video import clips


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of three photos, 25 pictures a second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    clips.write(path, clips.scenes(6))
    return path


def test_a_picture_a_second_and_the_cuts(clip: Path) -> None:
    with Reader(clip) as reader:
        samples = list(reader.samples())
        assert [each.time for each in samples] == [0, 1, 2, 3, 4, 5]
        assert {each.rgb.shape for each in samples} == {(180, 320, 3)}
        assert [(each.kind, each.start) for each in reader.events] == [("scene", 2), ("scene", 4)]
        assert reader.duration == 6
