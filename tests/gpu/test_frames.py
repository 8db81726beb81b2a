"""Views of frames on the GPU are those of the CPU, byte for byte."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from declip_rt import Bundle, ImageError, Scorer
from declip_rt.backends.cuda import devices
from declip_rt.backends.cuda import frames as frames_of
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.frames import Frames
from declip_rt.errors import Unavailable
from declip_rt.images.views import write_views
from tests.conftest import picture
from tests.gpu.conftest import Frame

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "HWC": lambda rgb: rgb,
    "CHW": lambda rgb: np.ascontiguousarray(rgb.transpose(2, 0, 1)),
    "mirrored": lambda rgb: np.ascontiguousarray(rgb)[:, ::-1],
    "part": lambda rgb: np.ascontiguousarray(rgb)[10:, 7:],
    "BGR read as RGB": lambda rgb: np.ascontiguousarray(rgb)[..., ::-1],
}
SIZES = ((320, 260), (227, 900), (64, 48), (1500, 231))  # width, height: ragged, tall, small, wide


@pytest.fixture
def _current(context: Context) -> Iterator[None]:
    """As in a lane's calls."""
    with context.current():
        yield


@pytest.mark.usefixtures("_current")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_views_are_those_of_the_cpu(layout: str, context: Context, bundle: Bundle) -> None:
    stream = context.stream()
    frames = Frames(context, bundle.views, stream)
    arrays = [LAYOUTS[layout](picture(i, *size)) for i, size in enumerate(SIZES)]
    expected = np.zeros((len(arrays), *bundle.views.shape), np.uint8)
    for i, array in enumerate(arrays):
        rgb = array.transpose(1, 2, 0) if layout == "CHW" else array
        write_views(rgb, bundle.views, expected[i])
        assert frames.put(i, Frame(context, array)) == rgb.shape[1::-1]
    pixels, (found, pinned) = context.memory(expected.nbytes, stream), context.pinned(expected.shape)
    frames.write(int(pixels.handle), len(arrays))
    pixels.copy_to(pinned, stream=stream)
    stream.sync()
    assert np.array_equal(found, expected)
    frames.close()


@pytest.mark.usefixtures("_current")
@pytest.mark.parametrize(
    "array",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)],
    ids=["grey", "RGBA", "float"],
)
def test_other_arrays_are_refused(array: np.ndarray, context: Context, bundle: Bundle) -> None:
    frames = Frames(context, bundle.views, context.stream())
    with pytest.raises(ImageError, match="must be RGB uint8"):
        frames.put(0, Frame(context, array.view(np.uint8)) if array.dtype == np.uint8 else _floats(context))


def _floats(context: Context) -> Frame:
    frame = Frame(context, np.zeros((8, 8, 12), np.uint8))
    frame.__cuda_array_interface__ |= {"shape": (8, 8, 3), "typestr": "<f4", "strides": None}
    return frame


@pytest.mark.usefixtures("_current")
def test_a_frame_that_another_thread_forgets_is_let_go_here(context: Context, bundle: Bundle) -> None:
    """pycuda frees an array's memory in the thread of its context alone."""
    freed = []
    frames, frame = Frames(context, bundle.views, context.stream()), Frame(context, picture())
    weakref.finalize(frame, lambda: freed.append(threading.get_ident()))
    frames.put(0, frame)
    del frame
    forgets = threading.Thread(target=frames.drop, args=(0,))
    forgets.start()
    forgets.join()
    assert (0 in frames, freed) == (False, [])
    frames.clear()
    gc.collect()
    assert freed == [threading.get_ident()]


@pytest.fixture(params=[frames_of.GROUP, 1], ids=["small", "large"])
def _group(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are cut together, or each as it comes."""
    monkeypatch.setattr(frames_of, "GROUP", request.param)


@pytest.fixture
def scorer(device: str, context: Context, bundle: Bundle) -> Iterator[Scorer]:
    try:
        made = Scorer(bundle.path, device, batch=4, lanes=2)
    except Unavailable as error:
        pytest.skip(f"NOT RUN, {device}: {error}")
    with made:
        yield made


@pytest.mark.usefixtures("_group")
def test_frames_and_photos_in_one_batch(scorer: Scorer, context: Context) -> None:
    pictures = [picture(i) for i in range(7)]
    mixed = [Frame(context, rgb) if i % 3 else rgb for i, rgb in enumerate(pictures)]
    expected = [score.to_dict() for score in scorer.score_many(pictures)]
    assert [score.to_dict() for score in scorer.score_many(mixed)] == expected


@pytest.mark.usefixtures("_group")
def test_frames_of_an_abandoned_run_are_forgotten(scorer: Scorer, context: Context) -> None:
    pictures = [picture(i) for i in range(8)]
    expected = [score.to_dict() for score in scorer.score_many(pictures)]
    abandoned = scorer.score_many(Frame(context, picture(9)) for _ in range(100))
    next(abandoned)
    abandoned.close()
    assert [score.to_dict() for score in scorer.score_many(pictures)] == expected


def test_torch_frames_are_waited_for_on_the_stream_that_writes_them(scorer: Scorer) -> None:
    if not devices.list_devices():
        pytest.skip("NOT RUN, NVML lists no GPU: torch would take a simulated one for a real one")
    torch: Any = pytest.importorskip("torch", reason="NOT RUN, torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("NOT RUN, this torch has no CUDA")
    given = torch.from_numpy(picture()).cuda()
    frame = torch.zeros_like(given)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(200_000_000)  # cycles: a tenth of a second
        frame.copy_(given)
        found = scorer.score(frame)
    assert found.to_dict() == scorer.score(picture()).to_dict()


def test_a_cpu_says_what_to_do_with_a_frame(context: Context, bundle: Bundle) -> None:
    with (
        Scorer(bundle.path, "cpu") as scorer,
        pytest.raises(ImageError, match='score with `device="tensorrt"` or `device="cuda"`'),
    ):
        scorer.score(Frame(context, picture()))
