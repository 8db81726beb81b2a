"""A bundle gets an INT8 graph where it is faster and scores as the FP32 one does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from declip_rt import Bundle, BundleError, ConfigError, Scorer
from declip_rt.backends.instructions import multiplies_8_bits
from declip_rt.model import onnx_file
from declip_rt.model.manifest import LIMITS, Limits
from export.__main__ import export
from export.int8 import speedups, write_int8
from tests.conftest import encoded, picture
from tests.export.conftest import Exported, photos_of

exact = pytest.mark.skipif(not multiplies_8_bits(), reason="this CPU has no VNNI, so INT8 graphs are not used on it")


@pytest.fixture
def copied(vit: Path, vit_bundle: Path, copying: Callable[[Path], None]) -> Path:
    """The checkpoint, whose FP32 and FP16 graphs `export` copies: what is tested is what follows them."""
    copying(vit_bundle)
    return vit


@pytest.fixture
def pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small models gain little: what decides about the speed has a test of its own."""
    monkeypatch.setattr("export.int8.MIN_SPEEDUP", 0.0)


@pytest.mark.usefixtures("pays")
def test_a_convolutional_tower_gets_its_layers_rounded(exported: Exported, tmp_path: Path) -> None:
    pixels = photos_of(Bundle(exported.bundle).views)
    (made,) = write_int8(exported.graph, tmp_path, pixels)
    assert made.layers > 5
    assert made.file.stat().st_size < 0.5 * exported.graph.stat().st_size
    assert set(made.speedups) == {"ONNX Runtime", "OpenVINO"}
    check_independence(made.file, pixels)


@pytest.mark.usefixtures("pays")
def test_a_transformer_is_rounded_by_ranges_and_by_rows(vit_bundle: Path, tmp_path: Path) -> None:
    fp32, pixels = vit_bundle / "fp32.onnx", photos_of(Bundle(vit_bundle).views)
    made = write_int8(fp32, tmp_path, pixels)
    assert {each.file.stem for each in made} == {"by-ranges", "by-rows"}
    assert max(made[0].speedups.values()) >= max(made[1].speedups.values())
    domains = {each.file.stem: onnx_file.domains(each.file) for each in made}
    assert domains == {"by-ranges": {""}, "by-rows": {"", "com.microsoft"}}
    for each in made:
        whole, rounded = features(fp32, pixels), features(each.file, pixels)
        assert 0.95 < (whole * rounded).sum(1).min() < 0.999999
        check_independence(each.file, pixels)


def features(graph: Path, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return session.run(["perceptual"], {"pixels": pixels})[0]


def check_independence(int8: Path, pixels: np.ndarray) -> None:
    """A photo's feature is the same alone and among others."""
    assert features(int8, pixels[3:4])[0] == pytest.approx(features(int8, pixels)[3], abs=1e-5)


@exact
def test_a_graph_that_is_not_faster_is_left_out(
    copied: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("export.int8.MIN_SPEEDUP", 1e6)
    assert "int8" not in export(copied, tmp_path / "bundle", None, photos).graphs
    assert "no int8.onnx: none pays and scores as fp32.onnx does" in capsys.readouterr().out
    assert not (tmp_path / "bundle" / "int8.onnx").exists()


def test_the_speedup_is_how_many_times_as_fast_the_second_graph_is(vit_bundle: Path, tmp_path: Path) -> None:
    slow, quick = vit_bundle / "fp32.onnx", tmp_path / "quick.onnx"
    write_quick(quick)
    pixels = np.zeros((64, *Bundle(vit_bundle).views.shape), np.uint8)
    libraries = ("ONNX Runtime", "OpenVINO")
    assert min(speedups(slow, quick, pixels, libraries).values()) > 2
    assert max(speedups(quick, slow, pixels, libraries).values()) < 0.5


def test_a_library_that_is_not_installed_is_left_out(vit_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    graph = vit_bundle / "fp32.onnx"
    assert set(speedups(graph, graph, photos_of(Bundle(vit_bundle).views)[:1], ("ONNX Runtime", "OpenVINO"))) == {
        "ONNX Runtime"
    }


def write_quick(path: Path) -> None:
    """A graph that only adds up its pixels."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Cast", ["pixels"], ["cast"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["cast"], ["scores"]),
    ]
    pixels = helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["N", None, None, None, 3])
    graph = helper.make_graph(nodes, "quick", [pixels], [helper.make_empty_tensor_value_info("scores")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@exact
@pytest.mark.usefixtures("pays")
def test_a_proven_graph_goes_into_the_bundle_and_auto_takes_it(
    copied: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_ranks = Limits(change=0.02, srcc=-1.0)  # an untrained model's scores hardly move: ranks are noise
    monkeypatch.setitem(LIMITS, "int8", without_ranks)
    manifest = export(copied, tmp_path / "bundle", None, photos)
    parity = manifest.graphs["int8"].parity
    assert parity is not None
    assert parity.keeps(without_ranks)
    assert parity.n == 50
    assert f"lowest SRCC {parity.srcc:.4f} on 50 images" in capsys.readouterr().out
    with Scorer(tmp_path / "bundle", "cpu") as ours, Scorer(tmp_path / "bundle", "cpu", precision="fp32") as reference:
        assert ours.engine.precision == "int8"
        assert reference.engine.precision == "fp32"
        change = abs(ours.score(picture()).technical - reference.score(picture()).technical)
        features = [scorer.embed(picture()).perceptual for scorer in (ours, reference)]
    assert change <= 0.02
    assert not np.array_equal(*features)


@exact
@pytest.mark.usefixtures("pays")
def test_an_unproven_graph_is_left_out(
    copied: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "int8" not in export(copied, tmp_path / "bundle", None, photos).graphs
    assert (
        "left out, as it must keep to: SRCC at least 0.998, change of a score at most 0.02" in capsys.readouterr().out
    )
    assert not (tmp_path / "bundle" / "int8.onnx").exists()
    Bundle(tmp_path / "bundle")
    with pytest.raises(BundleError, match="has no int8 graph"):
        Scorer(tmp_path / "bundle", "cpu", precision="int8")


def test_few_photos_prove_nothing(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(encoded(picture(), "PNG"))
    with pytest.raises(ConfigError, match="1 photos; give 100 or more"):
        export(copied, tmp_path / "bundle", None, tmp_path / "photos")
