"""ONNX Runtime computes on a lane's stream, from and to the lane's memory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import tensorrt

from declip_rt import Bundle, EngineError
from declip_rt.backends.choose import open_engine
from declip_rt.backends.onnxrt import cuda as onnx_cuda_engine
from tests.simulated.conftest import Simulation, pixels


class Session:
    """What the CUDA provider is to us: a graph that runs on a stream, on memory that was bound."""

    def __init__(self, graph: str, options: object, providers: list[tuple[str, dict[str, object]]]) -> None:
        ((self.provider, self.options),) = providers
        self.engine = tensorrt.ICudaEngine(b"[]\n" + Path(graph).read_bytes())

    def get_providers(self) -> list[str]:
        return [self.provider]

    def io_binding(self) -> tensorrt.IExecutionContext:
        return Binding(self.engine)

    def run_with_iobinding(self, binding: tensorrt.IExecutionContext, options: object) -> None:
        assert binding.execute_async_v3(int(self.options["user_compute_stream"]))


class Binding(tensorrt.IExecutionContext):
    memory = 1

    def __init__(self, engine: tensorrt.ICudaEngine) -> None:
        super().__init__(engine)
        self.memory = 1

    def bind_input(self, name: str, kind: str, index: int, dtype: type, shape: tuple[int, ...], address: int) -> None:
        assert (kind, index, dtype) == ("cuda", 0, np.uint8)
        self.shape, self.addresses[name] = shape, address

    def bind_output(self, name: str, kind: str, index: int, dtype: type, shape: tuple[int, ...], address: int) -> None:
        assert (kind, index, dtype) == ("cuda", 0, np.float32)
        assert shape[0] == self.shape[0]
        self.addresses[name] = address


@pytest.fixture
def _cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = SimpleNamespace(**vars(onnxruntime))
    runtime.get_available_providers = lambda: [onnx_cuda_engine.CUDA]
    runtime.InferenceSession = Session
    monkeypatch.setattr(onnx_cuda_engine, "runtime_module", lambda: runtime)
    monkeypatch.setattr(onnx_cuda_engine, "open_session", lambda run, graph, *rest: Session(str(graph), *rest))


@pytest.mark.usefixtures("_cuda")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_it_scores_as_the_reference_does(precision: str, gpu: Simulation, bundle: Bundle) -> None:
    images = pixels(0, (3, *bundle.views.shape))
    found = []
    for engine in (open_engine(bundle, "cuda", 4, precision=precision, lanes=2), open_engine(bundle, "cpu", 4)):
        for i, image in enumerate(images):
            engine.lanes[1].slot(i)[...] = image
        engine.lanes[1].launch(3)
        found.append(engine.lanes[1].result().scores)
        engine.close()
    assert np.abs(found[0] - found[1]).max() < 1e-5
    assert (gpu.used, gpu.pinned) == (0, 0)


@pytest.mark.usefixtures("_cuda")
def test_auto_takes_it_and_falls_back_aloud(gpu: Simulation, bundle: Bundle) -> None:
    said: list[str] = []
    engine = open_engine(bundle, "auto", 2, say=said.append)
    assert engine.device.startswith("cuda:0 (ONNX Runtime")
    engine.close()
    gpu.reset(memory=1 << 10)
    engine = open_engine(bundle, "auto", 2, say=said.append)
    assert engine.device.startswith("cpu")
    assert "computing on the CPU: cuda:0: no room" in said[-1]


@pytest.mark.usefixtures("_cuda")
def test_int8_is_not_for_gpus(gpu: Simulation, bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="int8 graphs are for CPUs"):
        open_engine(bundle, "cuda", precision="int8")


@pytest.mark.usefixtures("_cuda")
def test_an_fp16_graph_that_scores_otherwise_is_refused(gpu: Simulation, bundle: Bundle) -> None:
    tensorrt.faults.add("moved")
    with pytest.raises(EngineError, match=r"change of a score 0\.02"):
        open_engine(bundle, "cuda", 4, precision="fp16")
    assert (gpu.used, gpu.pinned) == (0, 0)
