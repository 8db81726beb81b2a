"""Frames of other libraries: their stream is waited for, their context stays current, and a bad one is one error."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cuda.bindings import driver

from declip_rt import Bundle, ImageError, OnStream, Scorer
from declip_rt.backends.cuda import frames as frames_of
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.frames import Frames
from declip_rt.images.views import write_views
from tests.conftest import picture
from tests.gpu.conftest import Frame
from tests.simulated.conftest import FOREIGN, Simulation


@pytest.mark.parametrize("index", [0, 1])
def test_the_callers_context_stays_current(index: int, gpu: Simulation, bundle: Bundle, folder: Path) -> None:
    """On the second device, too; the fixture sees what is current at the end, and this what is after each call."""
    driver.cuCtxSetCurrent(driver.cuDevicePrimaryCtxRetain(1 - index)[1])

    def current() -> int:
        return int(driver.cuCtxGetCurrent()[1])

    before = current()
    with Scorer(bundle.path, f"tensorrt:{index}", batch=2, lanes=2) as scorer:
        assert current() == before
        assert scorer.engine.where == f"tensorrt:{index}"
        scorer.score(picture())
        assert current() == before
        frames = [Frame(Context(index), picture(seed)) for seed in range(3)]
        assert current() == before
        assert len(list(scorer.score_many(frames))) == 3
        assert current() == before
    assert current() == before
    driver.cuCtxSetCurrent(FOREIGN.value)


def test_a_bad_frame_leaves_captures_of_others_alone(gpu: Simulation, bundle: Bundle) -> None:
    """torch may capture a graph in another thread: nothing may wait for the whole context then."""
    with Scorer(bundle.path, "tensorrt", batch=1, lanes=1) as scorer:
        other = Context(0).stream()
        capture = other.create_graph_builder().begin_building()
        with pytest.raises(ImageError, match="a str is no CUDA stream"):
            scorer.score(Frame(Context(0), picture()), stream="mine")
        capture.end_building()
        capture.close()
        assert scorer.score(picture())


def test_a_frame_of_no_stream_is_waited_for_on_the_default_one(gpu: Simulation, bundle: Bundle) -> None:
    """As one of pycuda: its kernels run on the default stream, and it names none."""
    context = Context(0)
    grey, right = np.full_like(picture(), 128), picture()
    frame = Frame(context, grey)

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def write(_: object) -> None:
        time.sleep(0.2)
        address, _ = frame.__cuda_array_interface__["data"]
        ctypes.memmove(address, right.ctypes.data, right.nbytes)

    with Scorer(bundle.path, "tensorrt", batch=1, lanes=1) as scorer:
        expected = scorer.score(right)
        assert scorer.score(grey) != expected
        with context.current():
            gpu.driver.cuLaunchHostFunc(None, write, None)
        assert scorer.score(frame).technical == pytest.approx(expected.technical, abs=1e-4)


@pytest.mark.parametrize("kind", ["address", "protocol", "torch", "CuPy", "pycuda", "numba"])
def test_a_frame_is_waited_for_on_the_stream_that_is_named(kind: str, gpu: Simulation, bundle: Bundle) -> None:
    context, right = Context(0), picture()
    frame, stream = Frame(context, np.full_like(right, 128)), context.stream()
    address = int(stream.handle)
    named: object = {
        "address": address,
        "protocol": SimpleNamespace(__cuda_stream__=lambda: (0, address)),
        "torch": SimpleNamespace(cuda_stream=address),
        "CuPy": SimpleNamespace(ptr=address),
        "pycuda": SimpleNamespace(handle=address),
        "numba": SimpleNamespace(handle=ctypes.c_void_p(address)),
    }[kind]

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def write(_: object) -> None:
        time.sleep(0.1)
        ctypes.memmove(frame.__cuda_array_interface__["data"][0], right.ctypes.data, right.nbytes)

    def queue() -> None:
        ctypes.memset(frame.__cuda_array_interface__["data"][0], 128, right.nbytes)
        with context.current():
            gpu.driver.cuLaunchHostFunc(ctypes.c_void_p(address), write, None)

    with Scorer(bundle.path, "tensorrt", batch=2, lanes=1) as scorer:
        expected = scorer.score(right).technical
        queue()
        assert scorer.score(frame, stream=named).technical == pytest.approx(expected, abs=1e-4)
        queue()
        (found,) = scorer.score_many([OnStream(frame, named)])
        assert found.technical == pytest.approx(expected, abs=1e-4)
        queue()
        assert scorer.embed(frame, stream=named).perceptual == pytest.approx(scorer.embed(right).perceptual, abs=1e-4)
        with pytest.raises(ImageError, match="a str is no CUDA stream"):
            scorer.score(frame, stream="mine")
        with pytest.raises(ImageError, match="cannot read a ndarray on the GPU"):
            scorer.score(right, stream=named)


def test_memory_of_another_context_is_refused(gpu: Simulation, bundle: Bundle) -> None:
    """As that of pycuda.autoinit."""
    frame = Frame(Context(0), picture())
    gpu.driver.sim_own(ctypes.c_void_p(frame.__cuda_array_interface__["data"][0]))
    with Scorer(bundle.path, "tensorrt", batch=1, lanes=1) as scorer:
        for stream in (None, FOREIGN.value):
            with pytest.raises(ImageError, match=r"another CUDA context.*import pycuda\.autoprimaryctx"):
                scorer.score(frame, stream=stream)
        assert scorer.score(picture())


def test_frames_are_let_go_in_the_thread_that_gave_them(gpu: Simulation, bundle: Bundle) -> None:
    """pycuda frees an array's memory in the thread of its context alone."""
    threads: list[int] = []

    class Watched(Frame):
        def __del__(self) -> None:
            threads.append(threading.get_ident())

    context = Context(0)
    with Scorer(bundle.path, "tensorrt", batch=4, lanes=2, workers=3) as scorer:
        list(scorer.score_many(Watched(context, picture(seed)) for seed in range(6)))
        abandoned = scorer.score_many(Watched(context, picture(seed)) for seed in range(30))
        next(abandoned)
        abandoned.close()
        del abandoned
        list(scorer.score_many([picture(seed) for seed in range(12)]))  # which other threads put into the lanes
        scorer.score(Watched(context, picture()))
    gc.collect()
    assert len(threads) > 10
    assert set(threads) == {threading.get_ident()}


@pytest.mark.parametrize("what", ["a failing producer", "another library's error", "another GPU"])
def test_one_bad_frame_is_one_error(what: str, gpu: Simulation, bundle: Bundle) -> None:
    class Failing:
        def __dlpack__(self, **_: object) -> object:
            raise AssertionError("stream 0") if what == "a failing producer" else NotImplementedError("bfloat16")

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

    with Scorer(bundle.path, "tensorrt", batch=2, lanes=1) as scorer:
        bad = Frame(Context(1), picture()) if what == "another GPU" else Failing()
        found = list(scorer.score_many([picture(), bad, picture()], return_errors=True))
        assert [isinstance(each, ImageError) for each in found] == [False, True, False]


def test_weights_are_computed_once_for_each_size(gpu: Simulation, bundle: Bundle) -> None:
    """And the kernels are loaded once for all lanes."""
    context, views = Context(0), len(bundle.views.placements)
    with Scorer(bundle.path, "tensorrt", batch=4, lanes=2) as scorer:
        frames = [Frame(context, picture(seed)) for seed in range(8)]
        list(scorer.score_many(frames))
        first = gpu.launches
        list(scorer.score_many(frames))
        again = gpu.launches[len(first) :]
        list(scorer.score_many([*frames[:3], Frame(context, picture(0, 200, 100)), *frames[:4]]))
        other = gpu.launches[len(first) + len(again) :]
    assert first.count("load") == 1
    assert [each for each in first if "weigh" in each] == [f"declip_weigh {views}"] * 2, "once for each lane"
    cut = [f"declip_pass_one {4 * views}", f"declip_pass_two {4 * views}"]
    assert again == cut * 2, "one launch of each kernel for a batch"
    assert other == [f"declip_weigh {views}", *cut, *cut]


class Stage:
    """Frames beside the views that the CPU cuts from them."""

    def __init__(self, bundle: Bundle, batch: int) -> None:
        self.context, self.views = Context(0), bundle.views
        self.stream = self.context.stream()
        self.expected = np.zeros((batch, *bundle.views.shape), np.uint8)
        self.pixels = self.context.memory(self.expected.nbytes, self.stream)
        self.frames = Frames(self.context, self.views, self.stream, batch, int(self.pixels.handle))

    def put(self, i: int, rgb: np.ndarray) -> weakref.ref[Frame]:
        frame = Frame(self.context, rgb)
        self.frames.put(i, frame)
        write_views(rgb, self.views, self.expected[i])
        return weakref.ref(frame)

    def check(self, n: int) -> None:
        self.frames.write(int(self.pixels.handle), n)
        found, pinned = self.context.pinned(self.expected.shape)
        self.pixels.copy_to(pinned, stream=self.stream)
        self.stream.sync()
        assert np.array_equal(found[:n], self.expected[:n])
        self.frames.clear()

    def close(self) -> None:
        self.frames.close()
        self.pixels.close()
        self.stream.sync()


def test_large_frames_are_cut_and_let_go_as_they_come(
    gpu: Simulation, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is that of two groups, whatever the batch."""
    monkeypatch.setattr(frames_of, "GROUP", 2 * picture().nbytes)
    with Context(0).current():
        stage = Stage(bundle, 12)
        held = [0]
        before = gpu.used
        for round_ in range(3):
            taken = []
            for i in range(12):
                taken.append(stage.put(i, picture(12 * round_ + i)))
                gc.collect()
                held.append(sum(each() is not None for each in taken))
            assert all(i in stage.frames for i in range(12)), "no photo may be copied there"
            stage.check(12)
        assert max(held) == 3, "a group whose views are being cut, and one that is not full"
        assert gpu.used - before < 6 * picture().nbytes
        stage.close()


def test_a_run_holds_no_more_large_frames_than_its_lanes(
    gpu: Simulation, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_of, "GROUP", picture().nbytes)
    context, given, held = Context(0), [], []

    def film() -> Iterator[Frame]:
        for seed in range(24):
            frame = Frame(context, picture(seed))
            given.append(weakref.ref(frame))
            yield frame
            del frame
            gc.collect()
            held.append(sum(each() is not None for each in given))

    with Scorer(bundle.path, "tensorrt", batch=8, lanes=2) as scorer:
        assert len(list(scorer.score_many(film()))) == 24
    assert max(held) <= 5, "two for each lane, and the one that is being read"


@pytest.mark.parametrize("batch", [3, 8])
def test_what_the_gpu_has_to_read_yet_stays(
    batch: int, gpu: Simulation, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames, and the jobs of slots that are filled again before a launch, as after runs that ended early."""
    monkeypatch.setattr(frames_of, "GROUP", 2 * picture().nbytes)
    happened: list[str] = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def idle(_: object) -> None:
        time.sleep(0.2)
        happened.append("the GPU goes on")

    with Context(0).current():
        stage = Stage(bundle, batch)
        frames = [Frame(stage.context, picture(seed)) for seed in range(4)]
        weakref.finalize(frames[0], lambda: happened.append("a frame is let go"))
        gpu.driver.cuLaunchHostFunc(ctypes.c_void_p(int(stage.stream.handle)), idle, None)
        for i in (0, 1, 2, 0):
            stage.frames.put(i, frames.pop(0))
        for i, seed in enumerate((3, 1, 2)):
            write_views(picture(seed), bundle.views, stage.expected[i])
        stage.check(3)
        assert happened == ["the GPU goes on", "a frame is let go"]
        stage.close()


def test_weights_of_many_sizes_take_bounded_memory(
    gpu: Simulation, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_of, "WEIGHTS", 2**16)
    context = Context(0)
    with context.current():
        stage = Stage(bundle, 4)
        used = []
        for width in range(100, 200):
            stage.put(0, picture(0, width, 100))
            stage.check(1)
            gc.collect()
            stage.stream.sync()
            context.trim()  # what the pool keeps of the frames themselves
            used.append(gpu.used)
        assert used[20] > used[0]
        assert max(used) < used[0] + 2**16 + 2**14
        stage.close()


def test_a_frame_of_another_thread_waits_for_it(
    gpu: Simulation, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its views are cut: pycuda frees an array's memory in the thread of its context alone."""
    monkeypatch.setattr(frames_of, "GROUP", 1)
    freed: list[tuple[int, int]] = []  # threads: which gave it, and which let it go
    with Context(0).current():
        stage = Stage(bundle, 8)

        def put(*slots: int) -> None:
            giver = threading.get_ident()
            with Context(0).current():
                for i in slots:
                    weakref.finalize(stage.put(i, picture(i))(), lambda: freed.append((giver, threading.get_ident())))

        put(0)
        other = threading.Thread(target=put, args=(1, 2, 3))
        other.start()
        other.join()
        put(4, 5)
        gc.collect()
        assert len(freed) >= 3
        assert all(giver == here for giver, here in freed)
        stage.check(6)
        stage.close()
