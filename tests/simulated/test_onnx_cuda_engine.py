"""A lane's calls to ONNX Runtime: its stream and its memory. Sessions are replaced; tests/gpu runs real ones."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import tensorrt
from msgspec.structs import replace

from declip_rt import Bundle, EngineError, ParityError
from declip_rt.backends import parity
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import EngineOptions
from declip_rt.backends.onnxrt import cuda, session
from declip_rt.model.manifest import Graph
from tests.backends.contract import Contract, Open
from tests.simulated.conftest import Simulation, pixels

faults = set[str]()  # what goes wrong: nodes (on the CPU), waits (in the middle of a run)


class Session:
    """What the CUDA provider is to us: a graph that runs on a stream, on memory that was bound."""

    def __init__(self, graph: str, options: object, providers: list[tuple[str, dict[str, object]]]) -> None:
        ((self.provider, self.options),) = providers
        self.settings = options
        if "nodes" in faults and self.options["enable_cuda_graph"] == "1":
            raise EngineError("all compute graph nodes have not been partitioned to the CUDAExecutionProvider")
        plan = b'{"shapes": []}\n' + Path(graph).read_bytes()
        self.engine = tensorrt.ICudaEngine(plan, tensorrt.Runtime(tensorrt.ILogger()))

    def get_providers(self) -> list[str]:
        return [self.provider]

    def io_binding(self) -> tensorrt.IExecutionContext:
        return Binding(self.engine)

    def run_with_iobinding(self, binding: tensorrt.IExecutionContext, options: onnxruntime.RunOptions) -> None:
        stream = int(self.options["user_compute_stream"])
        assert binding.execute_async_v3(stream)
        waits = self.options["enable_cuda_graph"] == "0"
        if not waits:
            assert options.get_run_config_entry("gpu_graph_id") == "-1", "a graph of its own is of one thread"
            assert options.get_run_config_entry("disable_synchronize_execution_providers") == "1"
        waits = waits or "waits" in faults
        if waits and (failed := binding.driver.cuStreamSynchronize(ctypes.c_void_p(stream))):
            raise RuntimeError(f"CUDA failure {failed}: operation not permitted when stream is capturing")


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
def _cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    runtime = SimpleNamespace(**vars(onnxruntime))
    runtime.get_available_providers = lambda: [session.CUDA]
    monkeypatch.setattr(cuda, "runtime_module", lambda: runtime)
    monkeypatch.setattr(session, "runtime_module", lambda: runtime)
    open_session = session.open_session

    def opened(graph: object, options: object, provider: object = session.CPU) -> object:
        if provider == session.CPU:
            return open_session(graph, options, provider)
        return Session(str(graph), options, [provider])

    monkeypatch.setattr(session, "open_session", opened)
    yield
    faults.clear()


@pytest.fixture
def reopen(gpu: Simulation, bundle: Bundle, _cuda: None) -> Open:
    return lambda: open_engine(bundle, EngineOptions(device="cuda", batch=4, lanes=3))


class TestContract(Contract):
    """The lanes of ONNX Runtime on the simulated GPU."""


@pytest.mark.usefixtures("_cuda")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_it_scores_as_the_reference_does(precision: str, gpu: Simulation, bundle: Bundle) -> None:
    images = pixels(0, (3, *bundle.views.shape))
    found = []
    for engine in (
        open_engine(bundle, EngineOptions(device="cuda", batch=4, precision=precision, lanes=2)),
        open_engine(bundle, EngineOptions(device="cpu", batch=4)),
    ):
        for i, image in enumerate(images):
            engine.lanes[1].slot(i)[...] = image
        engine.lanes[1].launch(3)
        found.append(engine.lanes[1].result().scores)
        engine.close()
    assert np.abs(found[0] - found[1]).max() < 1e-5
    assert (gpu.used, gpu.pinned) == (0, 0)


@pytest.mark.usefixtures("_cuda")
def test_auto_takes_it_and_falls_back_aloud(gpu: Simulation, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    engine = open_engine(bundle, EngineOptions(device="auto", batch=2))
    assert str(engine.info).startswith("cuda:0 (ONNX Runtime")
    assert engine.info.fallback is None
    engine.close()
    gpu.reset(memory=1 << 10)
    engine = open_engine(bundle, EngineOptions(device="auto", batch=2))
    assert str(engine.info).startswith("cpu")
    assert "computing on the CPU: cuda:0: no room" in caplog.messages[-1]
    assert caplog.records[-1].levelname == "WARNING"
    assert str(engine.info.fallback).startswith("cuda:0: no room")
    engine.close()


@pytest.mark.usefixtures("_cuda")
def test_other_precisions_are_not_for_it(gpu: Simulation, bundle: Bundle) -> None:
    for precision in ("bf16", "int8"):
        with pytest.raises(EngineError, match=f"{precision} is for CPUs"):
            open_engine(bundle, EngineOptions(device="cuda", precision=precision))
    with pytest.raises(EngineError, match="fp8 graphs are for TensorRT"):
        open_engine(bundle, EngineOptions(device="cuda", precision="fp8"))


@pytest.mark.usefixtures("_cuda")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_graph_that_scores_otherwise_is_refused(precision: str, gpu: Simulation, bundle: Bundle) -> None:
    tensorrt.faults.add("moved")
    with pytest.raises(ParityError, match=r"change of a score 0\.02"):
        open_engine(bundle, EngineOptions(device="cuda", batch=4, precision=precision))
    assert gpu.used == 0
    assert (gpu.used, gpu.pinned) == (0, 0)


@pytest.mark.usefixtures("_cuda")
def test_the_graphs_level_follows_its_precision_not_its_name(gpu: Simulation, bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "renamed"
    folder.mkdir()
    for precision, name in (("fp32", "half.onnx"), ("fp16", "fp32-half.onnx")):
        (folder / name).write_bytes(bundle.graph(precision).read_bytes())
    graphs = {"fp32": Graph.of(folder / "half.onnx"), "fp16": Graph.of(folder / "fp32-half.onnx")}
    replace(bundle.manifest, graphs=graphs).write(folder)
    levels = onnxruntime.GraphOptimizationLevel
    for precision, level in (("fp32", levels.ORT_ENABLE_ALL), ("fp16", levels.ORT_ENABLE_BASIC)):
        engine = open_engine(Bundle(folder), EngineOptions(device="cuda", precision=precision, lanes=1))
        assert engine.lanes[0]._program._runs[1].session.settings.graph_optimization_level == level
        engine.close()


@pytest.mark.usefixtures("_cuda")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_session_has_its_batch_alone_and_computes_in_whole_fp32(
    precision: str, gpu: Simulation, bundle: Bundle
) -> None:
    engine = open_engine(bundle, EngineOptions(device="cuda", batch=4, precision=precision, lanes=2))
    programs = [lane._program for lane in engine.lanes]
    sessions = [each.session for program in programs for each in program._runs.values()]
    assert len({id(each) for each in sessions}) == 4, "two lanes, batches of 1 and 4"
    for each in sessions:
        assert each.options["use_tf32"] == "0"
        assert each.options["arena_extend_strategy"] == "kSameAsRequested"
    engine.close()
    assert [program._runs for program in programs] == [{}, {}]


@pytest.mark.usefixtures("_cuda")
def test_a_batch_is_one_graph_of_the_lane(gpu: Simulation, bundle: Bundle) -> None:
    engine = open_engine(bundle, EngineOptions(device="cuda", batch=4))
    assert engine.info.lanes == len(engine.lanes) == 2, "each holds the weights twice"
    assert all(None not in graphs for lane in engine.lanes for graphs in lane._graphs.values())
    for lane in engine.lanes:
        lane._program.enqueue = None  # a graph alone is launched
    images = pixels(1, (4, *bundle.views.shape))
    found = parity.compute(engine, images, 4).scores
    alone = parity.compute(engine, images, 1).scores
    engine.close()
    assert np.abs(found - alone).max() < 1e-5


@pytest.mark.usefixtures("_cuda")
def test_short_of_memory_it_takes_a_quarter_of_the_batch(gpu: Simulation, bundle: Bundle) -> None:
    gpu.reset(memory=24 * int(np.prod(bundle.views.shape)))
    engine = open_engine(bundle, EngineOptions(device="cuda", lanes=1))
    assert engine.info.batch == 8
    assert "take a smaller `batch`" in str(engine.info.fallback)
    engine.close()


@pytest.mark.usefixtures("_cuda")
@pytest.mark.parametrize(("fault", "why"), [("nodes", "nodes have not been"), ("waits", "CUDA failure 900")])
def test_a_graph_that_cannot_be_captured_runs_without(
    fault: str, why: str, gpu: Simulation, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "declip_rt")
    faults.add(fault)
    engine = open_engine(bundle, EngineOptions(device="cuda", batch=4, lanes=1))
    assert engine.lanes[0]._graphs == {1: (None, None), 4: (None, None)}
    assert {each.session.options["enable_cuda_graph"] for each in engine.lanes[0]._program._runs.values()} == {"0"}
    said = [record for record in caplog.records if "without a CUDA graph" in record.message]
    assert len(said) == 2
    assert all(why in each.message and each.levelname == "INFO" for each in said)
    engine.close()
    assert (gpu.used, gpu.pinned) == (0, 0)


@pytest.mark.usefixtures("_cuda")
def test_libraries_of_pip_are_loaded_before_the_first_session(
    gpu: Simulation, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The provider does not search site-packages for CUDA and cuDNN."""
    events: list[str] = []
    runtime, opened = session.runtime_module(), session.open_session

    def preload() -> None:
        print("libcudart.so.13 not found")
        events.append("preload")

    def count(graph: object, options: object, provider: object = session.CPU) -> object:
        if provider != session.CPU:
            events.append("session")
        return opened(graph, options, provider)

    monkeypatch.setattr(runtime, "preload_dlls", preload)
    monkeypatch.setattr(session, "open_session", count)
    session.load_cuda.cache_clear()
    open_engine(bundle, EngineOptions(device="cuda", batch=4, lanes=2)).close()
    assert events == ["preload", *4 * ["session"]]
    assert capsys.readouterr().out == "", "rows go there"
