"""A graph that is not what its bundle says, or never ends, is an error with a name."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from declip_rt import Bundle, EngineError, Scorer
from declip_rt.backends.onnxrt import session
from declip_rt.model.manifest import sha256_of
from tests.conftest import encoded, picture

K, D = 9, 768


def made(
    folder: Path, bundle: Bundle, *, scores: int = K, features: int = D, value: float = 0.5, endless: bool = False
) -> Path:
    """The embedded bundle with a graph of its own, whose outputs are constant."""
    folder.mkdir()
    nodes = [helper.make_node("Shape", ["pixels"], ["shape"]), helper.make_node("Gather", ["shape", "zero"], ["n"])]
    constants = {"zero": np.array([0])}
    for name, width, what in (("scores", scores, value), ("perceptual", features, 0.1), ("semantic", features, 0.1)):
        constants[f"{name}_row"] = np.full((1, width), what, np.float32)
        constants[f"{name}_one"] = np.array([1])
        nodes.append(helper.make_node("Concat", ["n", f"{name}_one"], [f"{name}_shape"], axis=0))
        nodes.append(helper.make_node("Expand", [f"{name}_row", f"{name}_shape"], [f"{name}_made"]))
        nodes.append(helper.make_node("Identity", [f"{name}_made"], [name]))
    if endless:
        going = helper.make_tensor_value_info("going", TensorProto.BOOL, [])
        body = helper.make_graph(
            [helper.make_node("Identity", ["going"], ["still"]), helper.make_node("Add", ["x", "x"], ["more"])],
            "body",
            [helper.make_tensor_value_info("i", TensorProto.INT64, []), going,
             helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, D])],
            [helper.make_tensor_value_info("still", TensorProto.BOOL, []),
             helper.make_tensor_value_info("more", TensorProto.FLOAT, [1, D])],
        )  # fmt: skip
        constants |= {"often": np.array(2**62), "yes": np.array(True)}
        nodes = [helper.make_node("Loop", ["often", "yes", "semantic_row"], ["semantic_last"], body=body), *nodes]
        nodes[-2].input[0] = "semantic_last"
    graph = helper.make_graph(
        nodes,
        "stranger",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", None, None, None, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in session.OUTPUTS],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    file = folder / "fp32.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), file)
    own = msgspec.structs.replace(bundle.manifest.graphs["fp32"], file="fp32.onnx", sha256=sha256_of(file))
    msgspec.structs.replace(bundle.manifest, graphs={"fp32": own}, text=None).write(folder)
    return folder


def score(folder: Path) -> float:
    with Scorer(folder, "cpu") as scorer:
        return scorer.score(encoded(picture())).technical


def test_a_graph_that_fits_scores(tmp_path: Path, bundle: Bundle) -> None:
    assert score(made(tmp_path / "b", bundle)) == pytest.approx(0.5)


@pytest.mark.parametrize("wrong", [{"scores": K + 1}, {"scores": 1}, {"features": D + 1}, {"features": 1}])
def test_other_widths_than_the_bundles_are_refused(tmp_path: Path, bundle: Bundle, wrong: dict[str, int]) -> None:
    with pytest.raises(EngineError, match=r"bundle.json says that they have \(9, 768, 768\) columns"):
        score(made(tmp_path / "b", bundle, **wrong))


@pytest.mark.parametrize("value", [5.0, -0.5, float("nan")])
def test_scores_that_are_none_are_refused(tmp_path: Path, bundle: Bundle, value: float) -> None:
    with pytest.raises(EngineError, match=r"outside of 0 to 1|non-finite"):
        score(made(tmp_path / "b", bundle, value=value))


def test_a_graph_without_an_end_is_stopped(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_RUN", 0.5)
    with pytest.raises(EngineError, match=r"ran for 0.5 s without an end; do you trust this bundle\?"):
        score(made(tmp_path / "b", bundle, endless=True))


def test_a_graph_with_other_names_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    folder = made(tmp_path / "b", bundle)
    model = onnx.load(folder / "fp32.onnx")
    model.graph.output[0].name = "semantic_made"
    onnx.save(model, folder / "fp32.onnx")
    own = msgspec.structs.replace(bundle.manifest.graphs["fp32"], sha256=sha256_of(folder / "fp32.onnx"))
    msgspec.structs.replace(bundle.manifest, graphs={"fp32": own}, text=None).write(folder)
    with pytest.raises(
        EngineError, match=r"has the inputs .* and the outputs .*'semantic_made'.*export the bundle again"
    ):
        Scorer(folder, "cpu")


def test_percentiles_that_fall_are_refused(tmp_path: Path, bundle: Bundle) -> None:
    assert bundle.manifest.calibration
    marks = tuple(reversed(bundle.manifest.calibration.percentiles["technical"]))
    calibration = msgspec.structs.replace(bundle.manifest.calibration, percentiles={"technical": marks})
    made(tmp_path / "b", bundle)
    manifest = Bundle(tmp_path / "b").manifest
    msgspec.structs.replace(manifest, calibration=calibration).write(tmp_path / "b")
    with pytest.raises(ValueError, match="percentiles of technical that fall"):
        Bundle(tmp_path / "b")
