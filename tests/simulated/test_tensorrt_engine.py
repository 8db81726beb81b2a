"""A plan is built once, proven and run; whatever fails says what to do."""

from __future__ import annotations

import gc
import json
import logging
import re
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rtx
import tensorrt
from msgspec.structs import replace

from declip_rt import Bundle, BundleError, ConfigError, EngineError, ParityError, Scorer, Unavailable
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Engine, EngineOptions
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.trt.library import Said
from declip_rt.backends.trt.plans import Plans
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.commands.build import build
from tests.conftest import encoded, picture
from tests.simulated.conftest import Simulation, pixels

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "declip_rt")


def opened(bundle: Bundle, batch: int = 4, **options: object) -> Engine:
    return open_engine(bundle, EngineOptions(device="tensorrt", batch=batch, **options))  # type: ignore[arg-type]


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a recipe of its own."""

    def write(text: str) -> Path:
        path = tmp_path / "own.toml"
        path.write_text(text)
        return path

    return write


def scores(engine: Engine, images: np.ndarray, lane: int = 0) -> np.ndarray:
    for i, image in enumerate(images):
        engine.lanes[lane].slot(i)[...] = image
    engine.lanes[lane].launch(len(images))
    return engine.lanes[lane].result().scores


def test_it_scores_as_the_reference_does(gpu: Simulation, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    engine = opened(bundle)
    assert caplog.messages == [f"building a plan for {bundle.name}: there is none yet"]
    assert str(engine.info) == f"tensorrt:0 (Simulated GPU, tensorrt 11.0.0, {engine.info.precision})"
    images = pixels(0, (3, *bundle.views.shape))
    expected = scores(open_engine(bundle, EngineOptions(device="cpu", batch=3, precision="fp32")), images)
    assert np.abs(scores(engine, images) - expected).max() < 0.01
    engine.close()
    assert (gpu.used, gpu.pinned) == (0, 0), "closing frees everything"


def test_the_embedded_model_passes_the_gate_in_fp16(gpu: Simulation, tmp_path: Path, recipe: Write) -> None:
    engine = opened(Bundle(), 2, lanes=1, recipe=recipe("batches = [1, 2]"))
    assert engine.info.precision == "fp16"
    passed = json.loads(next((tmp_path / "plans").glob("*.json")).read_text())["passed"]
    assert 0.999 <= passed["cosine"] < 0.9999999, "it is not the FP32 graph"
    engine.close()


def test_the_plan_and_its_proof_are_kept(
    gpu: Simulation, bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened(bundle).close()
    sidecar = json.loads(next((tmp_path / "plans").glob("*.json")).read_text())
    assert sidecar["origin"]["gpu"] == "Simulated GPU"
    assert sidecar["passed"]["cosine"] >= 0.999
    tensorrt.faults.add("moved")  # which the gate would see
    caplog.clear()
    engine = opened(bundle)
    assert caplog.messages == []
    engine.close()


def test_a_second_build_starts_from_what_the_first_measured(gpu: Simulation, bundle: Bundle, tmp_path: Path) -> None:
    tensorrt.built.clear()
    for batch in (4, 64):  # two plans
        opened(bundle, batch, lanes=1).close()
    assert [config.known for config in tensorrt.built] == [b"", b"measured "]
    next((tmp_path / "plans").glob("*.timing")).write_bytes(b"damaged")
    opened(bundle, 128, lanes=1).close()
    assert tensorrt.built[-1].known == b""


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What TensorRT for RTX, which is installed alone, has compiled since it was last asked."""
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", rtx)
    monkeypatch.setattr("declip_rt.backends.trt.recipe.default_recipe", lambda: Recipe(library="tensorrt_rtx"))
    monkeypatch.setattr(rtx, "compiled", [])
    return rtx.compiled


def test_kernels_are_compiled_once_for_all_lanes_and_runs(
    gpu: Simulation, bundle: Bundle, compiled: list[bytes]
) -> None:
    opened(bundle, 4, lanes=3).close()
    assert len(compiled) == 2, "for batches of 1 and 4"
    opened(bundle, 4, lanes=3).close()
    assert len(compiled) == 2
    opened(bundle, 32).close()
    opened(bundle, 32).close()
    assert len(compiled) == 5, "another batch is another plan, with kernels for 1, 8 and 32"


@pytest.mark.parametrize("change", ["another driver", "damage"])
def test_kernels_that_do_not_fit_are_compiled_and_proven_again(
    change: str,
    gpu: Simulation,
    bundle: Bundle,
    compiled: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    opened(bundle).close()
    if change == "damage":
        next((tmp_path / "plans").glob("*.kernels")).write_bytes(rtx.driver)
    else:
        monkeypatch.setattr(rtx, "driver", b"590")
    compiled.clear()
    opened(bundle).close()
    assert len(compiled) == 2
    monkeypatch.setattr(rtx, "driver", b"600")
    tensorrt.faults.add("moved")  # which the gate sees
    with pytest.raises(EngineError, match="does not score as the reference does"):
        opened(bundle)


def test_a_hardware_compatible_plan_is_for_any_gpu(gpu: Simulation, bundle: Bundle, tmp_path: Path) -> None:
    opened(bundle, lanes=1, recipe="portable").close()
    assert tensorrt.built[-1].hardware_compatibility_level == tensorrt.HardwareCompatibilityLevel.AMPERE_PLUS
    origin = json.loads(next((tmp_path / "plans").glob("*.json")).read_text())["origin"]
    assert (origin["gpu"], origin["capability"]) == ("", "8.0 and newer")


@pytest.mark.parametrize(("fault", "said"), [("moved", r"change of a score 0\.02"), ("nan", "non-finite perceptual")])
def test_a_plan_that_scores_otherwise_is_refused(
    fault: str, said: str, gpu: Simulation, bundle: Bundle, tmp_path: Path
) -> None:
    tensorrt.faults.add(fault)
    for _ in range(2):
        with pytest.raises(ParityError, match=said):
            opened(bundle)
    kept = fault == "nan"  # which may be no fault of the plan
    assert len(list((tmp_path / "plans").glob("*.plan"))) == kept
    assert gpu.used == 0


def test_a_refused_plan_is_not_built_again(gpu: Simulation, bundle: Bundle) -> None:
    tensorrt.faults.add("moved")
    with pytest.raises(ParityError, match=r"change of a score 0\.02"):
        opened(bundle)
    built, said = len(tensorrt.built), r"change of a score 0\.02.*found when it was built.*declip-rt plans clear"
    for _ in range(2):
        with pytest.raises(ParityError, match=said):
            opened(bundle)
    assert len(tensorrt.built) == built
    tensorrt.faults.clear()
    Plans().clear()
    opened(bundle).close()


def test_a_library_that_cannot_start_is_quoted(gpu: Simulation, bundle: Bundle) -> None:
    tensorrt.faults.add("start")
    with pytest.raises(EngineError, match=r"cannot start a builder: CUDA initialization failure.*nvidia-smi"):
        opened(bundle)


def test_fp32_is_not_tf32_unless_a_recipe_asks(gpu: Simulation, bundle: Bundle, recipe: Write) -> None:
    opened(bundle, lanes=1, precision="fp32").close()
    assert tensorrt.BuilderFlag.TF32 not in tensorrt.built[-1].flags
    opened(bundle, lanes=1, recipe=recipe('graph = "fp32"\ntf32 = true')).close()
    assert tensorrt.BuilderFlag.TF32 in tensorrt.built[-1].flags


def test_a_recipe_limits_a_lanes_streams_and_every_plan_names_its_layers(
    gpu: Simulation, bundle: Bundle, recipe: Write
) -> None:
    opened(bundle, lanes=1).close()
    assert tensorrt.built[-1].max_aux_streams == -1, "as TensorRT chooses"
    opened(bundle, lanes=1, recipe=recipe("max_aux_streams = 0")).close()
    assert tensorrt.built[-1].max_aux_streams == 0
    assert tensorrt.built[-1].profiling_verbosity == tensorrt.ProfilingVerbosity.DETAILED


def test_tensorrt_for_rtx_allocates_no_memory_of_its_own(
    gpu: Simulation, bundle: Bundle, compiled: list[bytes]
) -> None:
    opened(bundle, lanes=1).close()
    assert rtx.BuilderFlag.REQUIRE_USER_ALLOCATION in tensorrt.built[-1].flags


def test_the_batch_that_is_asked_for_is_computed_whole(gpu: Simulation, bundle: Bundle) -> None:
    """A batch of 9 would take as long as one of 32."""
    engine = opened(bundle, 9, lanes=1)
    assert [profile.shape[0] for profile in tensorrt.built[-1].profiles] == [1, 8, 9, 32]
    assert engine.lanes[0]._buckets == [1, 8, 9]
    engine.close()


def test_one_logger_serves_all(gpu: Simulation, bundle: Bundle) -> None:
    """TensorRT goes on using the first that it was given."""
    tensorrt.loggers.clear()
    first = opened(bundle, lanes=1)
    opened(bundle, 16, lanes=1).close()
    first.close()
    assert len(tensorrt.loggers) >= 4
    assert len({id(each) for each in tensorrt.loggers}) == 1


def test_a_library_that_is_short_of_memory_gets_a_smaller_batch(gpu: Simulation, bundle: Bundle) -> None:
    tensorrt.faults.add("short")
    engine = opened(bundle, 32, lanes=1)
    assert engine.info.batch == 8
    assert re.search(r"cannot prepare a lane: .* MiB are free", str(engine.info.fallback))
    engine.close()


def test_a_plan_is_built_and_its_engine_freed_on_its_own_gpu(
    gpu: Simulation, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    gc.collect()
    tensorrt.devices.clear()
    build(str(bundle.path), None, "", 1)
    assert tensorrt.devices == [1]
    assert capsys.readouterr().out.endswith(".plan\n")
    engine = open_engine(bundle, EngineOptions(device="tensorrt:1", batch=8, lanes=2))
    assert tensorrt.devices == [1]
    freed: list[int] = []
    network = engine.lanes[0]._program._network  # type: ignore[attr-defined]
    weakref.finalize(network, lambda: freed.append(tensorrt.current_device()))
    del network
    engine.close()
    assert freed == [1]


def test_a_gpu_without_room_for_a_context_is_short_of_memory(gpu: Simulation, bundle: Bundle) -> None:
    code = """
import ctypes
from declip_rt import OutOfMemory, Scorer
ctypes.CDLL("libcuda.so.1").sim_fill()
try:
    Scorer(device="tensorrt")
except OutOfMemory as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.search(r"cuda:0: cannot open the device: the GPU is full; take a smaller `batch`", done.stdout)


def test_what_a_library_said_before_is_no_cause() -> None:
    said = Said(tensorrt)
    said.log.log(tensorrt.ILogger.ERROR, "out of memory")
    later = Said(tensorrt)
    assert (str(said), str(later)) == ("out of memory", "it gave no reason")
    for i in range(2000):
        later.log.log(tensorrt.ILogger.ERROR, f"line {i}")
    assert str(later).endswith(" | line 1999")
    assert len(later.log.lines) == 1000


def test_a_refusal_of_another_version_is_not_believed(
    gpu: Simulation, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt.faults.add("moved")
    with pytest.raises(ParityError):
        opened(bundle)
    tensorrt.faults.clear()
    monkeypatch.setattr("declip_rt.backends.trt.engine.own_version", lambda: "9.9")
    opened(bundle).close()


def test_closing_gives_the_pools_memory_back(gpu: Simulation, bundle: Bundle) -> None:
    opened(bundle, 8).close()
    assert gpu.used == 0
    free, total = Context(0).free()
    assert free == total


def test_a_plan_outlives_what_is_not_its_fault(
    gpu: Simulation, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object) -> None:
        raise Unavailable("no reference")

    with monkeypatch.context() as patch:
        patch.setattr("declip_rt.backends.parity.open_onnx", unavailable)
        with pytest.raises(Unavailable):
            opened(bundle)
    assert len(list((tmp_path / "plans").glob("*.plan"))) == 1
    assert gpu.used == 0
    gpu.reset(launches=6)  # lost while the plan is proven
    with pytest.raises(EngineError, match="may be lost"):
        opened(bundle)
    assert len(list((tmp_path / "plans").glob("*.plan"))) == 1
    gpu.reset()


def test_a_library_that_refuses_the_plan_is_quoted(gpu: Simulation, bundle: Bundle) -> None:
    tensorrt.faults.add("refuse")
    with pytest.raises(EngineError, match=r"refuses the plan: the driver is too old.*nvidia-smi"):
        opened(bundle)


def test_short_memory_halves_the_batch_once(gpu: Simulation, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    engine = opened(bundle, 32, lanes=1)
    needed = gpu.used
    engine.close()
    gpu.reset(memory=needed - 1)
    engine = opened(bundle, 32, lanes=1)
    assert engine.info.batch == 8
    assert "MiB are free" in str(engine.info.fallback)
    assert caplog.messages[-1].endswith("going on with a batch of 8")
    assert caplog.records[-1].levelno == logging.WARNING, "a user of the library sees it"
    assert scores(engine, pixels(0, (8, *bundle.views.shape))).shape[0] == 8
    engine.close()
    gpu.reset(memory=1 << 20)
    with pytest.raises(EngineError, match=r"of \d+ MiB are free; take a smaller `batch`"):
        opened(bundle, 32, lanes=1)
    gc.collect()  # the lane that was not finished
    Context(0).trim()
    assert gpu.used == 0


def test_a_batch_beyond_the_recipe_gets_a_profile(gpu: Simulation, bundle: Bundle, recipe: Write) -> None:
    engine = opened(bundle, 40, lanes=1)
    assert engine.info.batch == 40
    assert scores(engine, pixels(0, (33, *bundle.views.shape))).shape[0] == 33
    engine.close()
    with pytest.raises(ConfigError, match="largest batch is 2"):
        opened(bundle, 40, recipe=recipe('graph = "fp32"\nbatches = [1, 2]'))


def test_what_it_cannot_do_names_a_remedy(gpu: Simulation, bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="there is no device 3: CUDA sees 2"):
        open_engine(bundle, EngineOptions(device="tensorrt:3"))
    for precision in ("bf16", "int8"):
        with pytest.raises(EngineError, match=f"{precision} is for CPUs"):
            opened(bundle, precision=precision)
    with pytest.raises(ConfigError, match="the recipe builds the fp32 graph"):
        opened(bundle, precision="fp16", recipe="fp32")


def test_a_lost_device_ends_the_run_and_keeps_the_rows(gpu: Simulation, bundle: Bundle, folder: Path) -> None:
    with Scorer(bundle.path, "tensorrt", batch=2, lanes=2) as scorer:
        gpu.reset(launches=3)  # the third batch starts when the first has given its lane back
        stream = scorer.score_many(sorted(folder.iterdir()))
        found = [next(stream), next(stream)]
        with pytest.raises(EngineError, match=r"ILLEGAL_ADDRESS.*may be lost"):
            found.extend(stream)
    assert 2 <= len(found) <= 4


def test_a_whole_run_as_users_start_it(gpu: Simulation, bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    from declip_rt.commands.main import main

    out = {name: tmp_path / f"{name}.jsonl" for name in ("cpu", "tensorrt")}
    (folder / "broken.jpg").write_bytes(encoded(picture())[:500])
    for device, path in out.items():
        assert (
            main(["score", str(folder), "--model", str(bundle.path), "--device", device, "--out", str(path)]) == 1
        )  # for the broken one
    rows = [[json.loads(line) for line in path.read_text().splitlines()] for path in out.values()]
    assert len(rows[0]) == 7
    for ours, reference in zip(*rows, strict=True):
        assert ours["path"] == reference["path"]
        assert bool(ours["error"]) == bool(reference["error"])
        if not ours["error"]:
            assert abs(ours["technical"] - reference["technical"]) < 0.01


def test_fp8_is_computed_where_the_gpu_has_it(
    bundle: Bundle, gpu: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BundleError, match="has no fp8 graph"):
        opened(bundle, precision="fp8")
    shutil.copytree(bundle.graph().parent, tmp_path / "fp8")
    graphs = bundle.manifest.graphs | {"fp8": bundle.manifest.graphs["fp16"]}
    replace(bundle.manifest, graphs=graphs).write(tmp_path / "fp8")
    with_fp8 = Bundle(tmp_path / "fp8")
    engine = opened(with_fp8, precision="fp8", lanes=1)
    assert engine.info.precision == "fp8"
    engine.close()
    opened(with_fp8, recipe="fp8", lanes=1).close()
    monkeypatch.setattr("declip_rt.backends.trt.engine.FP8_CAPABILITY", (9, 0))
    with pytest.raises(EngineError, match=r"Simulated GPU has no products in fp8.*`precision=\"fp16\"`"):
        opened(with_fp8, precision="fp8")
