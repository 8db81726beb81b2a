"""The fixtures of tests that export: each checkpoint becomes a bundle once a run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from declip_rt import Bundle
from declip_rt.model.manifest import Parity
from export import __main__ as command
from export.fp16 import Fp16
from tests.training import Recipe, checkpoint, full_size, once, recipe, vit

__all__ = ["checkpoint", "full_size", "recipe", "vit"]


@dataclass(frozen=True)
class Exported:
    """A bundle, and what the command said that wrote it."""

    bundle: Path
    said: str

    @property
    def graph(self) -> Path:
        return self.bundle / "fp32.onnx"


@pytest.fixture(scope="session")
def exported(recipe: Recipe, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The bundle of `checkpoint`, with a card, by `python -m export`."""

    def make(folder: Path) -> None:
        line = [sys.executable, "-m", "export", checkpoint, "--out", folder / "bundle", "--data", recipe.data]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (folder / "said.txt").write_text(done.stdout)

    folder = once(tmp_path_factory, "exported", make)
    return Exported(folder / "bundle", (folder / "said.txt").read_text())


@pytest.fixture(scope="session")
def vit_bundle(vit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `vit`, without an INT8 graph."""
    return once(tmp_path_factory, "vit-bundle", lambda folder: command.export(vit, folder, None))


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """From here on `export` copies the FP32 and the FP16 graph from a bundle of the same checkpoint: they take long."""

    def copy_from(bundle: Path) -> None:
        def graph(model: object, spec: object, path: Path) -> float:
            shutil.copy(bundle / path.name, path)
            return 0.0

        def half(fp32: Path, path: Path, pixels: object) -> Fp16:
            shutil.copy(bundle / path.name, path)
            return Fp16(Parity(n=0, change=0.0, cosine=1.0), kept=0, nodes=0, largest=())

        assert "fp16" in Bundle(bundle).manifest.graphs
        monkeypatch.setattr(command, "write_graph", graph)
        monkeypatch.setattr(command.fp16, "write_fp16", half)

    return copy_from
