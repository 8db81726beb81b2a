"""JPEGs go to nvImageCodec, and to the CPU what that cannot read."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cuda.bindings import driver
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
    made, most = 0, 100

    def __init__(self, device_id: int, max_num_cpu_threads: int, backends: list[object], options: str) -> None:
        if Decoder.made >= Decoder.most:
            raise RuntimeError("no room for one more")
        self.kinds = backends
        self.context = Context(device_id)
        self.busy = threading.Lock()
        Decoder.made += 1

    def decode(self, source: CodeStream) -> Frame | None:
        assert self.busy.acquire(blocking=False), "it is of one thread at a time"
        _, current = driver.cuCtxGetCurrent()
        assert int(current) == int(driver.cuDevicePrimaryCtxRetain(0)[1]), "it would allocate elsewhere"
        if self.kinds != ["HW_GPU_ONLY", "GPU_ONLY", "HYBRID_CPU_GPU"]:
            return None
        try:
            return Frame(self.context, np.asarray(Image.open(io.BytesIO(source.data)).convert("RGB")))
        except OSError:
            return None
        finally:
            self.busy.release()


@pytest.fixture
def _codec(gpu: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = SimpleNamespace(**{name: name for name in ("CPU_ONLY", "HW_GPU_ONLY", "GPU_ONLY", "HYBRID_CPU_GPU")})
    parts = {"CodeStream": CodeStream, "Decoder": Decoder, "Backend": lambda kind: kind, "BackendKind": kinds}
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", SimpleNamespace(**parts))
    monkeypatch.setattr(Decoder, "made", 0)


@pytest.mark.usefixtures("_codec")
def test_what_goes_where() -> None:
    decoder, jpeg = GpuDecoder(Context(0)), encoded(picture())
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
def test_decoders_are_kept_from_one_call_to_the_next(bundle: Bundle) -> None:
    with Scorer(bundle.path, "tensorrt", decoder="gpu", workers=2) as scorer:
        for i in range(5):
            scorer.score(encoded(picture(i)))
        assert Decoder.made == 1
        assert len(list(scorer.score_many(encoded(picture(i)) for i in range(20)))) == 20
    assert Decoder.made <= 2


@pytest.mark.usefixtures("_codec")
def test_where_there_is_room_for_few_decoders_the_cpu_decodes_the_rest(
    bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Decoder, "most", 1)
    with Scorer(bundle.path, "tensorrt", decoder="gpu", workers=4) as scorer:
        assert len(list(scorer.score_many(encoded(picture(i)) for i in range(20)))) == 20
    assert Decoder.made == 1


@pytest.mark.usefixtures("_codec")
def test_a_codec_without_nvjpeg_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "decode", lambda self, source: None)
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
