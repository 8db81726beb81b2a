"""Small pipelines, and an adapter for each."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from declip_rt import Bundle
from tests.train.dp_adapter import pipelines
from train.dp_adapter.adapter import save


class Made(NamedTuple):
    """A pipeline's kind, its folder, and the folder of an adapter for it."""

    kind: str
    base: Path
    adapter: Path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipelines")


@pytest.fixture(scope="session", params=pipelines.KINDS)
def made(request: pytest.FixtureRequest, folder: Path, bundle: Bundle) -> Made:
    """Each kind."""
    return _made(request.param, folder, bundle)


@pytest.fixture(scope="session")
def sd1(folder: Path, bundle: Bundle) -> Made:
    return _made("sd1", folder, bundle)


def _made(kind: str, folder: Path, bundle: Bundle) -> Made:
    adapter = folder / f"{kind}-adapter"
    if not adapter.exists():
        pipelines.write(kind, folder)
        save(pipelines.trained(kind), adapter, bundle, kind)
    return Made(kind, folder / kind, adapter)
