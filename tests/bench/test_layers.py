"""How long each layer takes, of the real ONNX Runtime here; tests/simulated has TensorRT's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from declip_rt import Bundle, ConfigError, EngineError
from declip_rt.backends.contract import Device, EngineInfo, EngineOptions
from declip_rt.backends.layers import Layer, Layers
from declip_rt.backends.onnxrt.layers import read_profile
from declip_rt.backends.trt.layers import read_layers
from declip_rt.bench import layers
from declip_rt.bench.measure import Effort

INFO = EngineInfo("cpu", None, "ONNX Runtime", "fp32", 3, 3)


def test_the_nodes_of_a_graph(bundle: Bundle) -> None:
    options = EngineOptions(device="cpu", precision="fp32", batch=3)
    found = layers.measure(bundle, options, INFO, Effort(iterations=5, warmup=0))
    assert (found.engine, found.batch, found.runs) == (str(INFO), 3, 5)
    took = [each.ms for each in found.layers]
    assert took == sorted(took, reverse=True)
    assert sum(took) == pytest.approx(found.ms)
    assert sum(each.share for each in found.layers) == pytest.approx(1)
    cast = next(each for each in found.layers if each.type == "Cast" and each.format.count("x") == 4)
    assert cast.format == f"float {'x'.join(map(str, (3, *bundle.views.shape)))}"


def test_runs_to_warm_up_do_not_count(tmp_path: Path) -> None:
    def node(ts: int, dur: int, name: str = "conv") -> dict[str, object]:
        args = {"op_name": "Conv", "node_index": "7", "output_type_shape": [{"float": [1, 8]}]}
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": args}

    runs = [{"cat": "Session", "name": "model_run", "ts": ts, "dur": 9, "args": {}} for ts in (10, 20, 30)]
    file = tmp_path / "profile.json"
    file.write_text(json.dumps([node(11, 5000), node(21, 1000), node(31, 2000), node(32, 500, name=""), *runs]))
    count, totals, known = read_profile(file, skip=1)
    assert (count, totals) == (2, {"conv": 3.0, "Conv 7": 0.5})
    assert known["conv"] == Layer("conv", "Conv", format="float 1x8")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("conv + relu", Layer("conv + relu")),
        (
            {
                "Name": "conv",
                "LayerType": "CaskConvolution",
                "Outputs": [{"Name": "y", "Format/Datatype": "Row major linear FP16 format"}],
                "TacticValue": "0x1",
            },
            Layer("conv", "CaskConvolution", "0x1", "Row major linear FP16 format"),
        ),
        (
            {
                "Name": "conv",
                "LayerType": "kgen",
                "Outputs": [{"Name": "y", "Format": "LINEAR", "Datatype": "FP16"}],
                "TacticName": "sm89_xmma",
                "TacticValue": "0x1",
            },
            Layer("conv", "kgen", "sm89_xmma", "FP16 LINEAR"),
        ),
        ({"Name": "end", "Outputs": []}, Layer("end")),
    ],
    ids=["names alone", "TensorRT 10", "TensorRT 11", "no outputs"],
)
def test_what_an_inspector_says(told: object, expected: Layer) -> None:
    assert read_layers(json.dumps({"Layers": [told]})) == {expected.name: expected}


def test_layers_of_an_engine_that_tells_nothing() -> None:
    with pytest.raises(EngineError, match="does not tell how long"):
        Layers.of("an engine", 1, 5, {}, {})


@pytest.mark.parametrize("device", ["auto", "cuda", "openvino", "tensorrt:0,1"])
def test_engines_without_layers_are_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="--layers needs --device cpu or tensorrt"):
        layers.check(Device.parse(device))
