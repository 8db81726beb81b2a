"""JPEGs go to nvImageCodec, and to the CPU what that cannot read."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from declip_rt import Bundle, ConfigError, Scorer, Unavailable
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.decoder import GpuDecoder
from tests.conftest import encoded, picture
from tests.gpu.conftest import Frame
from tests.simulated.conftest import Simulation


class CodeStream:
    def __init__(self, data: bytes) -> None:
        if len(data) < 100:
            raise RuntimeError("bad code stream")
        self.data = data
        self.width, self.height = (20_000, 20_000) if b"huge" in data else Image.open(io.BytesIO(data)).size


class Decoder:
    made = 0

    def __init__(self, device_id: int, max_num_cpu_threads: int, options: str) -> None:
        self.context = Context(device_id)
        self.busy = threading.Lock()
        Decoder.made += 1

    def decode(self, source: CodeStream) -> Frame | None:
        assert self.busy.acquire(blocking=False), "it is of one thread at a time"
        self.context.enter()
        try:
            return Frame(self.context, np.asarray(Image.open(io.BytesIO(source.data)).convert("RGB")))
        except OSError:
            return None
        finally:
            self.busy.release()


@pytest.fixture
def _codec(gpu: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", SimpleNamespace(CodeStream=CodeStream, Decoder=Decoder))


@pytest.mark.usefixtures("_codec")
def test_what_goes_where() -> None:
    decoder, jpeg = GpuDecoder(0), encoded(picture())
    assert decoder.decode(jpeg) is not None
    for other in (encoded(picture(), "PNG"), jpeg[:50], jpeg[:3000], jpeg + b"huge"):
        assert decoder.decode(other) is None


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
def test_decoders_are_kept_from_one_call_to_the_next(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "made", 0)
    with Scorer(bundle.path, "tensorrt", decoder="gpu", workers=2) as scorer:
        for i in range(5):
            scorer.score(encoded(picture(i)))
        assert Decoder.made == 1
        assert len(list(scorer.score_many(encoded(picture(i)) for i in range(20)))) == 20
    assert Decoder.made <= 2


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
