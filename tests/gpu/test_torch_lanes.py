"""Lanes on a real GPU with a network of torch: streams, pinned copies and frames are proven without TensorRT."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from declip_rt import Bundle
from declip_rt.backends.contract import Engine, EngineInfo
from declip_rt.backends.cuda import devices
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.engine import GpuEngine
from declip_rt.backends.cuda.lane import Buffers
from declip_rt.model.manifest import OUTPUTS
from declip_rt.stats import Stats
from tests.backends.contract import Open
from tests.conftest import picture
from tests.gpu.lanes import BATCH, BUCKETS, Lanes, layer_of, pipeline_of


class TorchNetwork:
    """The small bundle's one layer."""

    buckets = BUCKETS

    def __init__(self, torch: Any, bundle: Bundle) -> None:
        weights, self.widths = layer_of(bundle)
        self.torch, self.shape = torch, bundle.views.shape
        self.weights = torch.tensor(weights, device="cuda")

    def bind(self, buffers: Buffers) -> TorchProgram:
        return TorchProgram(self, buffers)


class TorchProgram:
    """Reads and writes the lane's memory, on its stream."""

    def __init__(self, network: TorchNetwork, buffers: Buffers) -> None:
        self._network, self._torch, self._buffers = network, network.torch, buffers
        self._stream = self._torch.cuda.ExternalStream(int(buffers.stream.handle))

    def enqueue(self, bucket: int, stream: int) -> None:
        torch = self._torch
        with torch.cuda.stream(self._stream), torch.inference_mode():
            pixels = self._view(self._buffers.pixels, (bucket, *self._network.shape), "|u1")
            rows = pixels.reshape(bucket, -1, 1).float()
            layer = (rows * self._network.weights).sum(1)  # no cuBLAS, which takes memory for each thread and stream
            logits, p, s = layer.split(list(self._network.widths.values()), 1)
            normalize = torch.nn.functional.normalize
            for name, found in zip(OUTPUTS, (logits.sigmoid(), normalize(p), normalize(s)), strict=True):
                self._view(self._buffers.outputs[bucket][name], found.shape, "<f4").copy_(found)

    def can_be_captured(self, bucket: int, stream: int) -> bool:
        return False

    def close(self) -> None:
        """Torch frees its own memory."""

    def _view(self, address: int, shape: tuple[int, ...], kind: str) -> Any:
        facts = {"shape": tuple(shape), "typestr": kind, "data": (address, False), "strides": None, "version": 3}
        return self._torch.as_tensor(SimpleNamespace(__cuda_array_interface__=facts), device="cuda")


@pytest.fixture
def reopen(context: Context, bundle: Bundle) -> Open:
    if not devices.list_devices():
        pytest.skip("NOT RUN, NVML lists no GPU: torch would take a simulated one for a real one")
    torch: Any = pytest.importorskip("torch", reason="NOT RUN, torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("NOT RUN, this torch has no CUDA")
    network = TorchNetwork(torch, bundle)
    info = EngineInfo("cuda", context.index, f"torch {torch.__version__}", "fp32", BATCH, 3)
    return lambda: GpuEngine(context, network, bundle.views, info, Stats())


class TestTorch(Lanes):
    """Torch on a real GPU."""

    def settle(self) -> None:
        import torch

        torch.cuda.empty_cache()  # torch keeps memory for each stream

    def test_a_frame_is_waited_for_on_the_stream_that_writes_it(self, engine: Engine, bundle: Bundle) -> None:
        import torch

        pipeline = pipeline_of(engine, bundle)
        given = torch.from_numpy(picture()).cuda()
        frame = torch.zeros_like(given)
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(200_000_000)  # cycles: a tenth of a second
            frame.copy_(given)
            found = pipeline.one(frame)
        assert np.array_equal(found.outputs.scores[found.row], pipeline.one(picture()).outputs.scores[0])
