"""Clips that several tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.video import clips


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of three photos, 25 pictures a second, with a key frame each second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    clips.write(path, clips.scenes(6))
    return path


@pytest.fixture(scope="session")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of one photo as a transport stream."""
    path = tmp_path_factory.mktemp("stream") / "stream.ts"
    clips.write(path, clips.scenes(2, names=["coffee"]), format="mpegts")
    return path
