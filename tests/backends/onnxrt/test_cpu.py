"""ONNX Runtime behind the lane contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from declip_rt import Bundle, EngineError, Unavailable
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import EngineOptions
from declip_rt.backends.host import SPARE_LANES
from declip_rt.backends.onnxrt import cpu
from tests.backends.contract import Contract, Open

CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.fixture
def reopen(bundle: Bundle) -> Open:
    return lambda: open_engine(bundle, EngineOptions(device="cpu", batch=4))


class TestContract(Contract):
    """ONNX Runtime on the CPU."""


def test_auto_says_what_it_chose(bundle: Bundle) -> None:
    engine = open_engine(bundle, EngineOptions(device="auto"))
    where = "cuda:0" if engine.info.kind == "cuda" else "cpu"
    assert str(engine.info) == f"{where} (ONNX Runtime {onnxruntime.__version__}, fp32)", "the bundle has no INT8 graph"
    engine.close()


@pytest.mark.skipif(CUDA, reason="this onnxruntime has CUDA")
def test_a_missing_cuda_provider_names_the_extra(bundle: Bundle) -> None:
    with pytest.raises(Unavailable, match=r"no CUDA provider.*declip-rt\[cuda\]"):
        open_engine(bundle, EngineOptions(device="cuda"))


def test_without_an_engine_the_error_names_the_extras(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not installed')")
    code = "from declip_rt import Scorer\nScorer()"
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert 'pip install "declip-rt[cpu]"' in done.stderr
    assert 'pip install "declip-rt[cuda]"' in done.stderr


def test_batches_compute_at_once_but_single_images_have_all_threads(bundle: Bundle) -> None:
    for threads, batch, at_once in ((2, 8, 2), (9, 2, 4), (1, 8, 1), (6, 1, 1), (3, 8, 3)):
        engine = open_engine(bundle, EngineOptions(device="cpu", batch=batch, threads=threads))
        assert len(engine.lanes) == at_once + SPARE_LANES
        own = engine._work.compute.session.get_session_options().intra_op_num_threads - 1  # the caller is one
        assert at_once + own == threads, "no core is left out"
        engine.close()


@pytest.mark.parametrize("exact", [True, False])
def test_int8_needs_a_cpu_whose_products_do_not_overflow(
    exact: bool, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "multiplies_8_bits", lambda: exact)
    monkeypatch.setattr(Bundle, "proves", lambda self, precision: precision == "int8")
    monkeypatch.setattr(Bundle, "graph", lambda self, precision="fp32": self.path / "fp32.onnx")
    engine = open_engine(bundle, EngineOptions(device="cpu"))
    assert engine.info.precision == ("int8" if exact else "fp32")
    engine.close()
    if not exact:
        with pytest.raises(EngineError, match=r'has no VNNI.*`precision="fp32"`'):
            open_engine(bundle, EngineOptions(device="cpu", precision="int8"))
