"""ONNX Runtime behind the lane contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from declip_rt import Bundle, EngineError
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Engine
from declip_rt.backends.onnxrt.cpu import SPARE, multiplies_8_bits

CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return open_engine(bundle, "cpu", 4)


def fill(engine: Engine, bundle: Bundle, lane: int, n: int) -> None:
    rng = np.random.default_rng(n)
    for i in range(n):
        engine.lanes[lane].slot(i)[...] = rng.integers(0, 256, bundle.views.shape, np.uint8)


def test_a_lane_gives_the_contracts_outputs(engine: Engine, bundle: Bundle) -> None:
    fill(engine, bundle, 0, 3)
    engine.lanes[0].launch(3)
    outputs = engine.lanes[0].result()
    assert outputs.scores.shape == (3, len(bundle.heads))
    assert outputs.scores.dtype == np.float32
    assert (outputs.scores >= 0).all()
    assert (outputs.scores <= 1).all()
    for feature in (outputs.perceptual, outputs.semantic):
        assert feature.shape == (3, bundle.manifest.features)
        assert np.allclose(np.linalg.norm(feature, axis=1), 1, atol=1e-5)


def test_lanes_in_flight_together_do_not_mix(engine: Engine, bundle: Bundle) -> None:
    alone = []
    for n in (2, 3):
        fill(engine, bundle, 0, n)
        engine.lanes[0].launch(n)
        alone.append(engine.lanes[0].result().scores)
    for lane, n in ((0, 2), (1, 3)):
        fill(engine, bundle, lane, n)
        engine.lanes[lane].launch(n)
    assert np.allclose(engine.lanes[1].result().scores, alone[1], atol=1e-6)
    assert np.allclose(engine.lanes[0].result().scores, alone[0], atol=1e-6)


def test_a_result_without_a_launch_is_an_error(engine: Engine) -> None:
    with pytest.raises(EngineError, match="nothing was launched"):
        engine.lanes[0].result()


def test_auto_says_what_it_chose(bundle: Bundle) -> None:
    engine = open_engine(bundle, "auto")
    where = "cuda:0" if engine.device.startswith("cuda") else "cpu"
    assert engine.device.startswith(f"{where} (ONNX Runtime {onnxruntime.__version__}")
    assert engine.precision == "fp32", "the embedded bundle has no INT8 graph"


@pytest.mark.skipif(CUDA, reason="this onnxruntime has CUDA")
def test_a_missing_cuda_provider_names_the_extra(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"no CUDA provider.*declip-rt\[cuda\]"):
        open_engine(bundle, "cuda")


def test_without_an_engine_the_error_names_the_extras(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not installed')")
    code = "from declip_rt import Scorer\nScorer()"
    env = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3]}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert 'pip install "declip-rt[cpu]"' in done.stderr
    assert 'pip install "declip-rt[cuda]"' in done.stderr


def test_batches_compute_at_once_but_single_images_have_all_threads(bundle: Bundle) -> None:
    for threads, batch, at_once in ((2, 8, 2), (9, 2, 4), (1, 8, 1), (6, 1, 1), (3, 8, 3)):
        engine = open_engine(bundle, "cpu", batch, threads=threads)
        assert len(engine.lanes) == at_once + SPARE
        own = engine._session.get_session_options().intra_op_num_threads - 1  # the caller is one
        assert at_once + own == threads, "no core is left out"
        engine.close()


@pytest.mark.parametrize(
    ("machine", "flags", "exact"),
    [
        ("x86_64", "flags : fpu avx2 avx512f avx512_vnni", True),
        ("x86_64", "flags : fpu avx2 avx_vnni", True),
        ("x86_64", "flags : fpu avx2 avx512f", False),
        ("aarch64", "Features : fp asimd", True),
    ],
)
def test_int8_needs_a_cpu_whose_products_do_not_overflow(
    machine: str, flags: str, exact: bool, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("pathlib.Path.read_text", lambda self: flags)
    multiplies_8_bits.cache_clear()
    assert multiplies_8_bits() == exact
    monkeypatch.setattr(Bundle, "precision", lambda self, wanted: "fp32" if wanted == "fp32" else "int8")
    monkeypatch.setattr(Bundle, "graph", lambda self, precision="fp32": self.path / "fp32.onnx")
    assert open_engine(bundle, "cpu").precision == ("int8" if exact else "fp32")
    if not exact:
        with pytest.raises(EngineError, match=r"has no VNNI.*--precision fp32"):
            open_engine(bundle, "cpu", precision="int8")
    multiplies_8_bits.cache_clear()
