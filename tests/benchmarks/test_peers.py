"""The benchmark against peers measures all of them on the same photos, and they score alike."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import peers
from declip_rt import Bundle
from tests.training import once
from train.model import load


@pytest.fixture(scope="module")
def write_bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bool]:
    """`peers.write_bundle`, which does its work once a run: what it wrote is copied."""

    def make(folder: Path) -> None:
        (folder / "photos").mkdir()
        sets = {"small": [str(path) for path in peers.generated(folder / "photos", (150, 120))]}
        with_int8 = peers.write_bundle(checkpoint, folder / "bundle", sets)
        assert with_int8 == ("int8" in Bundle(folder / "bundle").manifest.graphs)

    made = once(tmp_path_factory, "peers", make) / "bundle"

    def copy(of: Path, folder: Path, sets: peers.Sets) -> bool:
        assert of == checkpoint
        return "int8" in Bundle(Path(shutil.copytree(made, folder))).manifest.graphs

    return copy


Contend = Callable[..., peers.Result]


@pytest.fixture
def contend(
    checkpoint: Path, write_bundle: Callable[..., bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Contend:
    """The result of a contender on four photos, in this process."""
    monkeypatch.setattr(peers, "PASSES", 1)
    sets = {"small": [str(path) for path in peers.generated(tmp_path, (150, 120))][:4]}
    write_bundle(checkpoint, tmp_path / "bundle", sets)
    return lambda name: peers.run_one(name, checkpoint, tmp_path / "bundle", sets)


REFERENCE = "torch and Pillow in a loop, batch 1"


def alike(contend: Contend, *names: str) -> None:
    results = [contend(name) for name in (REFERENCE, *names)]
    for result in results:
        assert len(result["small"]) == peers.PASSES
        assert min(result["small"]) > 0
    first, *others = (result["small, scores"] for result in results)
    assert len(set(first)) > 1
    for other in others:
        assert other == pytest.approx(first, abs=1e-4)


def test_contenders_score_the_same_photos_alike(contend: Contend) -> None:
    alike(
        contend,
        "ONNX Runtime by hand, Pillow, batch 8",
        "OpenVINO by hand, Pillow, batch 8",
        "declip-rt, fp32",
        "declip-rt, OpenVINO, fp32",
    )


def test_bf16_is_near(contend: Contend) -> None:
    first, loop, hand = (
        contend(name)["small, scores"]
        for name in (REFERENCE, f"{REFERENCE}, bf16 autocast", "OpenVINO by hand, Pillow, batch 8, bf16")
    )
    for half in (loop, hand):
        assert half == pytest.approx(first, abs=0.05)
    assert loop != first


def test_what_declip_rt_refuses_is_left_out_with_its_reason(
    write_bundle: Callable[..., bool], checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "write_bundle", write_bundle)
    monkeypatch.setattr(peers, "measure", lambda name, *_: "it scores otherwise" if "bf16" in name else None)
    monkeypatch.setattr(peers, "table", lambda *_: "the table")
    section = peers.compare(checkpoint, tmp_path / "bundle", {}, ["OpenVINO, bf16"])
    assert section.endswith("the table\n\nLeft out declip-rt, OpenVINO, bf16: it scores otherwise\n")


def test_the_instructions_are_named() -> None:
    assert "AVX2" in peers.instructions()
    assert "AMX bf16" in peers.instructions()


@pytest.mark.slow
def test_the_loaders_scores_are_the_same(contend: Contend) -> None:
    alike(contend, "torch DataLoader, 2 workers, batch 32")


def test_contenders_that_score_differently_end_the_run() -> None:
    results = {"torch": {"small, scores": [0.5, 0.6]}, "declip-rt, fp32": {"small, scores": [0.5, 0.7]}}
    with pytest.raises(SystemExit, match="declip-rt, fp32 scores other than torch"):
        peers.check("declip-rt, fp32", results)
    peers.check("declip-rt, int8", results | {"declip-rt, int8": results["declip-rt, fp32"]})


def test_the_command_writes_a_table(
    checkpoint: Path,
    write_bundle: Callable[..., bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(peers, "write_bundle", write_bundle)
    monkeypatch.setattr(peers, "COUNTS", {"500x500": 2})
    options = ["--checkpoint", str(checkpoint), "--only", "by hand", "--only", "rt, fp32", "--only", "decoding alone"]
    options += ["--out", str(tmp_path / "cpu.md")]
    monkeypatch.setattr("sys.argv", ["peers", *options])
    assert peers.main() == 0
    text = (tmp_path / "cpu.md").read_text()
    assert "| ONNX Runtime by hand, Pillow, batch 8 |" in text
    ours = next(line for line in text.splitlines() if line.startswith("| declip-rt, fp32 |"))
    assert re.search(r"\*\*\d+\.\d\dx\*\*", ours)
    assert "torch DataLoader" not in text
    assert text.strip() in capsys.readouterr().out


def test_random_models_are_of_full_size(full_size: Path) -> None:
    config, model, _ = load(full_size)
    assert config.views.shape == (1, 224, 224, 3)
    assert sum(parameter.numel() for parameter in model.clip.visual.parameters()) > 80e6
