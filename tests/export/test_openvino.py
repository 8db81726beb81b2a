"""A bundle proves in which precisions OpenVINO may compute it, and `auto` takes the fastest of them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from msgspec.structs import replace

from declip_rt import Bundle, BundleError, EngineError, Scorer
from declip_rt.backends.instructions import multiplies_8_bits
from declip_rt.backends.openvino import engine as module
from declip_rt.model.manifest import LIMITS, Graph, Limits, Parity
from export.__main__ import export
from export.int8 import write_int8
from tests.conftest import picture
from tests.export.conftest import photos_of
from tests.training import once

BF16 = "BF16" in module._core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
GOOD, BAD = Parity(100, 0.001, 0.9999, 0.9999), Parity(100, 0.5, 0.9, 0.9)
exact = pytest.mark.skipif(not multiplies_8_bits(), reason="this CPU has no VNNI, so INT8 graphs are not used on it")
bf16 = pytest.mark.skipif(not BF16, reason="this CPU has no instructions for bf16")


@pytest.fixture(scope="module")
def graphs(vit_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with INT8 graphs of `vit`, by ranges and by rows."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("export.int8.MIN_SPEEDUP", 0.0)
            write_int8(vit_bundle / "fp32.onnx", folder, photos_of(Bundle(vit_bundle).views))

    return once(tmp_path_factory, "vit-int8", make)


@pytest.fixture
def proven(vit_bundle: Path, graphs: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies the bundle of `vit`, with what it says of its precisions."""

    def make(int8: Parity | None = None, bf16: Parity | None = None, kind: str = "by-ranges") -> Path:
        folder = Path(shutil.copytree(vit_bundle, tmp_path / "bundle"))
        named = dict(Bundle(folder).manifest.graphs)
        if int8 is not None:
            shutil.copy(graphs / f"{kind}.onnx", folder / "int8.onnx")
            named["int8"] = replace(Graph.of(folder / "int8.onnx"), parity=int8)
        if bf16 is not None:
            named["bf16"] = replace(named["fp32"], parity=bf16)
        replace(Bundle(folder).manifest, graphs=named).write(folder)
        return folder

    return make


@exact
def test_auto_takes_int8_that_is_proven(proven: Callable[..., Path]) -> None:
    folder = proven(int8=GOOD, bf16=GOOD)
    with Scorer(folder) as ours, Scorer(folder, "cpu", precision="int8") as reference:
        assert (ours.engine.kind, ours.engine.precision) == ("openvino", "int8")
        assert (reference.engine.kind, reference.engine.precision) == ("cpu", "int8")
        assert ours.score(picture()).technical == pytest.approx(reference.score(picture()).technical, abs=0.01)
        alone = ours.score(picture(7)).technical
        among = [score.technical for score in ours.score_many([picture(seed) for seed in range(11)])]
        assert alone == pytest.approx(among[7], abs=1e-3)


@exact
def test_a_graph_of_onnx_runtimes_operators_stays_with_it(proven: Callable[..., Path]) -> None:
    folder = proven(int8=GOOD, kind="by-rows")
    with Scorer(folder) as scorer:
        assert (scorer.engine.kind, scorer.engine.precision) == ("cpu", "int8")
    with pytest.raises(EngineError, match="INT8 graph is for ONNX Runtime alone"):
        Scorer(folder, "openvino", precision="int8")


@pytest.mark.parametrize("gains", [True, False])
def test_auto_takes_bf16_that_is_proven_where_it_is_faster(
    proven: Callable[..., Path], gains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "gains_from_bf16", lambda: gains)
    with Scorer(proven(bf16=GOOD)) as scorer:
        assert scorer.engine.precision == ("bf16" if gains and BF16 else "fp32")
        assert bool(scorer.engine.fallback) == (gains and not BF16)


def test_what_is_not_proven_is_not_taken(proven: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gains_from_bf16", lambda: True)
    folder = proven(int8=BAD, bf16=BAD)
    for device, kind in (("auto", "cpu"), ("openvino", "openvino")):
        with Scorer(folder, device) as scorer:
            assert (scorer.engine.kind, scorer.engine.precision) == (kind, "fp32")


def test_a_gpu_that_fails_is_told_beside_openvino(
    proven: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise EngineError("no GPU")

    monkeypatch.setattr("declip_rt.backends.choose.has_cuda", lambda: True)
    monkeypatch.setattr("declip_rt.backends.choose._open_cuda", fail)
    monkeypatch.setattr(module, "fastest", lambda bundle: "fp32")
    monkeypatch.setattr("declip_rt.backends.choose.fastest", lambda bundle: "fp32")
    folder = proven()
    with Scorer(folder) as scorer:
        assert (scorer.engine.kind, scorer.engine.fallback) == ("openvino", "no GPU")
    monkeypatch.setattr("declip_rt.backends.choose.open_compiled", fail)
    with Scorer(folder) as scorer:
        assert (scorer.engine.kind, scorer.engine.fallback) == ("cpu", "no GPU; no GPU")
    assert caplog.messages == 2 * ["computing on the CPU: no GPU"] + ["computing by ONNX Runtime: no GPU"]


def test_a_bundle_is_hashed_once_and_its_bf16_graph_is_that_of_fp32(proven: Callable[..., Path]) -> None:
    folder = proven(bf16=GOOD)
    bundle = Bundle(folder)
    assert sorted(each.file for each in bundle.manifest.files) == sorted({each.file for each in bundle.manifest.files})
    named = bundle.manifest.graphs | {"bf16": bundle.manifest.graphs["fp16"]}
    replace(bundle.manifest, graphs=named).write(folder)
    with pytest.raises(BundleError, match="a bf16 graph that is not its fp32 graph"):
        Bundle(folder)


def test_an_openvino_that_does_not_start_is_passed_over(
    proven: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    module._core.cache_clear()
    hollow = ModuleType("openvino")
    hollow.__spec__ = ModuleSpec("openvino", None)
    monkeypatch.setitem(sys.modules, "openvino", hollow)
    monkeypatch.setattr(module, "gains_from_bf16", lambda: True)
    with Scorer(proven(bf16=GOOD)) as scorer:
        assert scorer.engine.kind == "cpu"
        assert "OpenVINO does not start" in str(scorer.engine.fallback)


@pytest.mark.parametrize("installed", [True, False])
def test_auto_goes_on_without_openvino(
    proven: Callable[..., Path],
    installed: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise EngineError("it fails")

    monkeypatch.setattr("declip_rt.backends.choose.open_compiled", fail)
    monkeypatch.setattr(module, "find_spec", lambda name: installed or None)
    monkeypatch.setattr(module, "gains_from_bf16", lambda: True)
    with Scorer(proven(bf16=GOOD)) as scorer:
        assert (scorer.engine.kind, scorer.engine.precision) == ("cpu", "fp32")
        assert scorer.engine.fallback == ("it fails" if installed else None)
    assert caplog.messages == (["computing by ONNX Runtime: it fails"] if installed else [])


@bf16
def test_bf16_scores_do_not_depend_on_the_batch(proven: Callable[..., Path]) -> None:
    with Scorer(proven(), precision="bf16", batch=8) as scorer:
        assert (scorer.engine.kind, scorer.engine.precision) == ("openvino", "bf16")
        alone = [scorer.score(picture(seed)).technical for seed in range(5)]
        among = [score.technical for score in scorer.score_many([picture(seed) for seed in range(5)])]
        assert alone == pytest.approx(among, abs=1e-3)


@bf16
@pytest.mark.parametrize("strict", [True, False])
def test_the_export_proves_bf16(
    strict: bool,
    vit: Path,
    vit_bundle: Path,
    copying: Callable[[Path], None],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    limits = Limits(change=0.0 if strict else 0.01, cosine=0.999, srcc=-1.0)  # of an untrained model ranks are noise
    monkeypatch.setitem(LIMITS, "bf16", limits)
    monkeypatch.setattr("export.__main__.multiplies_8_bits", lambda: False)
    copying(vit_bundle)
    manifest = export(vit, tmp_path / "bundle", None, photos)
    said = capsys.readouterr().out
    assert "bf16: lowest cosine 0.99" in said
    assert ("bf16 is left out, as it must keep to" in said) == strict
    bundle = Bundle(tmp_path / "bundle")
    assert bundle.manifest == manifest
    assert bundle.proves("bf16") != strict
    if not strict:
        assert manifest.graphs["bf16"].file == "fp32.onnx"
