"""Several GPUs are one engine: what they share, and what is said when one of them fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorrt

from declip_rt import Bundle, EngineError, ImageError, Score, Scorer
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Engine, EngineOptions
from declip_rt.backends.cuda.context import Context
from tests.backends.contract import Contract, Open
from tests.conftest import picture
from tests.gpu.conftest import Frame
from tests.simulated.conftest import Simulation


@pytest.fixture
def reopen(gpu: Simulation, bundle: Bundle) -> Open:
    return lambda: open_engine(bundle, EngineOptions(device="tensorrt:all", batch=4, lanes=2))


class TestContract(Contract):
    """Two simulated GPUs."""

    def test_it_says_what_it_is(self, engine: Engine) -> None:
        assert str(engine.info) == f"tensorrt ({engine.info.name}, {engine.info.precision})"
        assert engine.info.lanes == len(engine.lanes)


def test_lanes_take_turns_and_equal_gpus_share_a_plan(gpu: Simulation, bundle: Bundle) -> None:
    tensorrt.built.clear()
    engine = open_engine(bundle, EngineOptions(device="tensorrt:1,0", batch=4, lanes=2))
    assert len(tensorrt.built) == 1
    assert [lane.inner._context.index for lane in engine.lanes] == [1, 0, 1, 0]  # type: ignore[attr-defined]
    assert str(engine.info).startswith("tensorrt (GPUs 1, 0: Simulated GPU, tensorrt")
    assert (engine.info.lanes, engine.info.batch, engine.info.index) == (4, 4, None)
    engine.close()
    assert engine.is_closed
    assert (gpu.used, gpu.pinned) == (0, 0)


def test_scores_are_those_of_one(gpu: Simulation, bundle: Bundle, folder: Path) -> None:
    photos = sorted(folder.glob("*.jpg"))
    with Scorer(bundle.path, "tensorrt:all", batch=2) as ours, Scorer(bundle.path, "tensorrt", batch=2) as one:
        pairs = zip(ours.score_many(photos), one.score_many(photos), strict=True)
        assert all(first.technical == pytest.approx(second.technical, abs=1e-4) for first, second in pairs)


def test_a_gpu_that_is_not_there_closes_the_others(gpu: Simulation, bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="there is no device 2: CUDA sees 2"):
        open_engine(bundle, EngineOptions(device="tensorrt:0,2", lanes=1))
    assert (gpu.used, gpu.pinned) == (0, 0)


def test_a_lost_gpu_is_named_and_rows_are_kept(gpu: Simulation, bundle: Bundle, folder: Path) -> None:
    with Scorer(bundle.path, "tensorrt:all", batch=1, lanes=1) as scorer:
        gpu.reset(launches=3)
        stream, found = scorer.score_many(sorted(folder.iterdir())), list[Score]()
        with pytest.raises(EngineError, match=r"cuda:[01]: .*may be lost"):
            found.extend(stream)
    assert 1 <= len(found) <= 3


def test_frames_are_for_one_gpu(gpu: Simulation, bundle: Bundle) -> None:
    with Scorer(bundle.path, "tensorrt:all", batch=1, lanes=1) as scorer:
        frame = Frame(Context(1), picture())
        with pytest.raises(ImageError, match="frames on a GPU are for one GPU"):
            list(scorer.score_many([frame, frame]))
