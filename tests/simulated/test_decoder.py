"""JPEGs go to nvImageCodec, and to the CPU what that cannot read."""

from __future__ import annotations

import io
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from cuda.bindings import driver
from PIL import Image, ImageOps

from declip_rt import Bundle, ConfigError, EngineError, Scorer, Unavailable
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.decoder import GpuDecoder
from declip_rt.images.decode import Encoded
from tests.conftest import encoded, picture, saved
from tests.gpu.conftest import Frame
from tests.images.test_color import DISPLAY_P3, profile
from tests.simulated.conftest import Simulation


class CodeStream:
    def __init__(self, data: bytes) -> None:
        if b"refused" in data:
            raise RuntimeError("bad code stream")
        self.data = data


class Decoder:
    """Decodes as the CPU does. `calls` are the numbers of images of each call."""

    calls: ClassVar[list[int]] = []
    seconds = 0.0

    def __init__(self, device_id: int, max_num_cpu_threads: int, backends: list[object], options: str) -> None:
        self.kinds, self.context, self.busy = backends, Context(device_id), threading.Lock()

    def decode(self, sources: list[CodeStream], *, cuda_stream: int) -> list[Frame | None]:
        assert self.busy.acquire(blocking=False), "it is of one thread at a time"
        assert cuda_stream
        _, current = driver.cuCtxGetCurrent()
        assert int(current) == int(driver.cuDevicePrimaryCtxRetain(0)[1]), "it would allocate elsewhere"
        Decoder.calls.append(len(sources))
        time.sleep(Decoder.seconds)
        try:
            return [self._decode(source) for source in sources]
        finally:
            self.busy.release()

    def _decode(self, source: CodeStream) -> Frame | None:
        if self.kinds != ["HW_GPU_ONLY", "GPU_ONLY", "HYBRID_CPU_GPU"] or b"unread" in source.data:
            return None
        return Frame(self.context, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(source.data)))))


@pytest.fixture
def _codec(gpu: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = SimpleNamespace(**{name: name for name in ("CPU_ONLY", "HW_GPU_ONLY", "GPU_ONLY", "HYBRID_CPU_GPU")})
    parts = {"CodeStream": CodeStream, "Decoder": Decoder, "Backend": lambda kind: kind, "BackendKind": kinds}
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", SimpleNamespace(**parts))
    monkeypatch.setattr(Decoder, "calls", [])


def told(what: str) -> bytes:
    return encoded(picture(), comment=what.encode())


@pytest.mark.usefixtures("_codec")
def test_what_goes_where(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = GpuDecoder(Context(0))
    assert decoder.decode(Encoded(told("plain"))) is not None
    for other in ("unread", "refused"):
        assert decoder.decode(Encoded(told(other))) is None
    monkeypatch.setattr("declip_rt.backends.cuda.decoder.MOST_PIXELS", picture().size // 3 - 1)
    assert decoder.decode(Encoded(told("plain"))) is None


@pytest.mark.usefixtures("_codec")
def test_it_gets_what_any_decoder_takes_alike_and_the_count_is_told(bundle: Bundle) -> None:
    cmyk = saved(Image.fromarray(picture()).convert("CMYK"), "JPEG")
    colored = encoded(picture(), icc_profile=profile(DISPLAY_P3, 2.2))
    cut, whole = encoded(picture())[:-2], encoded(picture())
    photos = [told("plain"), told("unread"), encoded(picture(), "PNG"), cut, cmyk, colored, whole]
    with Scorer(bundle.path, "tensorrt", decoder="gpu", workers=1) as scorer:
        Decoder.calls.clear()
        assert len(list(scorer.score_many(photos))) == len(photos)
        assert sum(Decoder.calls) == 3
        assert scorer.stats.summary().endswith("; 5 decoded on the CPU; 2 decoded on the GPU")


@pytest.mark.usefixtures("_codec")
def test_scores_are_those_of_the_cpus_decoder(bundle: Bundle, folder: Path) -> None:
    (folder / "broken.jpg").write_bytes(encoded(picture())[:3000])
    (folder / "z.png").write_bytes(encoded(picture(7), "PNG"))
    found = []
    for decoder in ("gpu", "cpu"):
        with Scorer(bundle.path, "tensorrt", decoder=decoder, batch=2) as scorer:
            found.append([str(each) for each in scorer.score_many(sorted(folder.iterdir()), return_errors=True)])
    assert found[0] == found[1]
    assert sum("technical" in each for each in found[0]) == 7


@pytest.mark.usefixtures("_codec")
def test_those_that_come_while_it_works_are_decoded_together(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "seconds", 0.05)
    with Scorer(bundle.path, "tensorrt", decoder="gpu", batch=8) as scorer:
        assert scorer.workers >= 32
        Decoder.calls.clear()
        assert len(list(scorer.score_many(encoded(picture(i)) for i in range(32)))) == 32
    assert sum(Decoder.calls) == 32
    assert max(Decoder.calls) >= 8


@pytest.mark.usefixtures("_codec")
@pytest.mark.parametrize(("bound", "most"), [("GROUP_BYTES", 3 * picture().size), ("MOST_AT_ONCE", 3)])
def test_together_they_are_not_too_large(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    monkeypatch.setattr(f"declip_rt.backends.cuda.decoder.{bound}", most)
    monkeypatch.setattr(Decoder, "seconds", 0.02)
    with Scorer(bundle.path, "tensorrt", decoder="gpu", batch=8) as scorer:
        assert len(list(scorer.score_many(encoded(picture(i)) for i in range(32)))) == 32
    assert max(Decoder.calls) == 3


@pytest.mark.usefixtures("_codec")
def test_a_batch_that_it_has_no_room_for_goes_to_the_cpu(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scorer(bundle.path, "tensorrt", decoder="gpu") as scorer:

        def full(self: Decoder, sources: list[CodeStream], *, cuda_stream: int) -> list[Frame | None]:
            raise RuntimeError("out of memory")

        monkeypatch.setattr(Decoder, "decode", full)
        assert len(list(scorer.score_many(encoded(picture(i)) for i in range(9)))) == 9
        assert "9 decoded on the CPU" in scorer.stats.summary()


@pytest.mark.usefixtures("_codec")
def test_a_lost_device_ends_the_run(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scorer(bundle.path, "tensorrt", decoder="gpu") as scorer:

        def lost(self: Decoder, sources: list[CodeStream], *, cuda_stream: int) -> list[Frame | None]:
            raise ValueError("CUDA_ERROR_LAUNCH_FAILED")

        monkeypatch.setattr(Decoder, "decode", lost)
        with pytest.raises(EngineError, match="cuda:0: cannot decode: CUDA_ERROR_LAUNCH_FAILED"):
            list(scorer.score_many(encoded(picture(i)) for i in range(9)))


@pytest.mark.usefixtures("_codec")
def test_a_codec_without_nvjpeg_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "decode", lambda self, sources, cuda_stream: [None for _ in sources])
    with pytest.raises(Unavailable, match=r"decodes no JPEG on this GPU.*declip-rt\[gpu-decode\]"):
        Scorer(bundle.path, "tensorrt", decoder="gpu")


def test_what_it_needs_is_named(gpu: Simulation, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", None)
    with pytest.raises(Unavailable, match=r"declip-rt\[gpu-decode\]") as raised:
        Scorer(bundle.path, "tensorrt", decoder="gpu")
    assert raised.tb, "which holds the engine"
    assert (gpu.used, gpu.pinned) == (0, 0)
    with pytest.raises(ConfigError, match='`decoder="gpu"` needs `device='):
        Scorer(bundle.path, "cpu", decoder="gpu")
    with pytest.raises(ConfigError, match="leave `decode_scale` out"):
        Scorer(bundle.path, "tensorrt", decoder="gpu", decode_scale="auto")
    with pytest.raises(ConfigError, match="leave `strict` out"):
        Scorer(bundle.path, "tensorrt", decoder="gpu", strict=True)
