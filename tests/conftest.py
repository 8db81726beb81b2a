"""Fixtures: pictures made on the spot, the embedded model, and the command line as a real process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image, ImageFilter

from declip_rt import Bundle, Scorer
from declip_rt.backends.contract import Engine
from declip_rt.backends.cuda import devices

NOBODY = 65534
FUZZ = int(os.environ.get("FUZZ", "1"))  # how many times as many examples hypothesis draws: make test-all sets it
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def examples(count: int) -> settings:
    """A decorator beside `@given`: the test runs on `count` examples, on more where FUZZ says so."""
    return settings(max_examples=FUZZ * count, deadline=None)


settings.register_profile("declip-rt", examples(100))
settings.load_profile("declip-rt")


def picture(seed: int = 0, width: int = 320, height: int = 260) -> np.ndarray:
    """RGB uint8 (H, W, 3) with coarse and fine structure, different for each seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    fine = rng.normal(0, 12, (height, width, 1))
    return np.clip(np.asarray(coarse) + fine, 0, 255).astype(np.uint8)


def encoded(rgb: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    return saved(Image.fromarray(rgb), kind, **options)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return Bundle()


@pytest.fixture(scope="session")
def prompted(bundle: Bundle) -> Path:
    """The folder of a bundle that has a text tower: the embedded one."""
    return bundle.path


@pytest.fixture(scope="session")
def scorer() -> Iterator[Scorer]:
    with Scorer(device="cpu") as made:
        yield made


@pytest.fixture
def engine(reopen: Callable[[], Engine]) -> Iterator[Engine]:
    """An engine of the module or folder that has the fixture `reopen`."""
    with closing(reopen()) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six good photos, a.jpg to f.jpg, in a folder."""
    made = tmp_path / "photos"
    made.mkdir()
    for seed, name in enumerate("abcdef"):
        (made / f"{name}.jpg").write_bytes(encoded(picture(seed)))
    return made


@pytest.fixture(scope="session")
def rated(scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos, ever blurrier, in images/, and a scores.csv: mos, all but told by the technical score."""
    made = tmp_path_factory.mktemp("rated")
    (made / "images").mkdir()
    rng = np.random.default_rng(0)
    lines = ["image,mos"]
    for i in range(12):
        sharp = Image.fromarray(picture(i % 4))
        path = made / "images" / f"{i}.png"
        sharp.filter(ImageFilter.GaussianBlur(i / 10)).save(path)
        lines.append(f"images/{path.name},{20 + 60 * scorer.score(path).technical + rng.normal(0, 0.3):.3f}")
    (made / "scores.csv").write_text("\n".join(lines) + "\n")
    return made


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """An empty folder, in a test that runs without root's right to read everything."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        root = os.geteuid() == 0
        if root:
            folder.chmod(0o777)
            os.seteuid(NOBODY)
        yield folder
        if root:
            os.seteuid(0)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests keep no plans and proofs in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECLIP_RT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def declip() -> Run:
    """Runs `declip-rt ARGUMENTS...` as a process of its own."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "declip_rt", *(os.fsencode(str(a)) for a in arguments)]
        return subprocess.run(command, capture_output=True, timeout=120, check=False, **options)  # type: ignore[call-overload]

    return run


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A stand-in for NVML, which has no GPU until a test adds some."""
    from tests.simulated import nvml as stand_in

    monkeypatch.setitem(sys.modules, "pynvml", stand_in)
    stand_in.gpus.clear()
    stand_in.missing.clear()
    devices.nvml.cache_clear()
    yield stand_in
    devices.nvml.cache_clear()
