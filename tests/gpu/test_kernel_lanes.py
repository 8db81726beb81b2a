"""Lanes with a network of one CUDA kernel, by NVRTC: they are proven with neither TensorRT nor torch, graphs too.

The simulated driver runs the same source, compiled for the host.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from declip_rt import Bundle, native
from declip_rt.backends.contract import EngineInfo
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.engine import GpuEngine
from declip_rt.backends.cuda.lane import Buffers
from declip_rt.model.manifest import OUTPUTS
from declip_rt.stats import Stats
from tests.backends.contract import Open, pixels, scores
from tests.gpu.lanes import BATCH, BUCKETS, Lanes, layer_of

SOURCE = Path(__file__).with_name("network.cu")


def compiled(context: Context) -> Any:
    """The kernel's code for the context's GPU."""
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(arch=context.target.replace("sm", "sm_"), fma=False)
    try:
        return Program(SOURCE.read_text(), "c++", options).compile("cubin")
    except Exception as error:  # where NVRTC is missing cuda.core raises what its finder does
        pytest.skip(f"NOT RUN, NVRTC: {error}")


class KernelNetwork:
    """The small bundle's one layer. asked: the batch sizes that were queued, those of captures too."""

    buckets = BUCKETS

    def __init__(self, context: Context, bundle: Bundle, code: Any) -> None:
        weights, self.widths = layer_of(bundle)
        self.kernel, self.asked = code.get_kernel("small_network"), list[int]()
        self.counts = len(weights), self.widths["scores"], self.widths["semantic"]
        stream, (host, pinned) = context.stream(), context.pinned(weights.shape, np.float32)
        host[...] = weights
        self.weights = context.memory(weights.nbytes, stream)
        pinned.copy_to(self.weights, stream=stream)
        stream.sync()
        pinned.close()

    def bind(self, buffers: Buffers) -> KernelProgram:
        return KernelProgram(self, buffers)


class KernelProgram:
    """Reads and writes the lane's memory, on its stream."""

    def __init__(self, network: KernelNetwork, buffers: Buffers) -> None:
        self._network, self._buffers = network, buffers

    def enqueue(self, bucket: int, stream: int) -> None:
        from cuda.core import LaunchConfig, launch

        network, buffers = self._network, self._buffers
        network.asked.append(bucket)
        addresses = buffers.pixels, int(network.weights.handle), *(buffers.outputs[bucket][name] for name in OUTPUTS)
        config = LaunchConfig(grid=(1, bucket), block=128)
        launch(buffers.stream, config, network.kernel, *addresses, *map(np.int32, network.counts))

    def can_be_captured(self, bucket: int, stream: int) -> bool:
        return True

    def close(self) -> None:
        """The network's own memory is freed with it."""


class TestKernel(Lanes):
    """A kernel, in CUDA graphs."""

    @pytest.fixture
    def network(self, context: Context, bundle: Bundle) -> KernelNetwork:
        from cuda.core import ObjectCode

        with context.current():
            simulated = context.name == "Simulated GPU"
            code = ObjectCode.from_fatbin(native.fatbin()) if simulated else compiled(context)
            return KernelNetwork(context, bundle, code)

    @pytest.fixture
    def reopen(self, network: KernelNetwork, context: Context, bundle: Bundle) -> Open:
        info = EngineInfo("cuda", context.index, "a kernel", "fp32", BATCH, 3)
        return lambda: GpuEngine(context, network, bundle.views, info, Stats())

    def test_batches_are_replayed(self, reopen: Open, network: KernelNetwork, bundle: Bundle) -> None:
        engine = reopen()
        prepared = len(BUCKETS) * 3 * engine.info.lanes  # each is run once, and captured alone and with its copies
        assert len(network.asked) == prepared
        for n in (1, 2, 4):
            assert scores(engine, 0, pixels(n, bundle, n)).shape[0] == n
        assert len(network.asked) == prepared
        engine.close()


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="NOT RUN: no nvcc on the PATH")
def test_a_gpu_could_run_it(tmp_path: Path) -> None:
    """The simulated one runs what the host's compiler made of it."""
    subprocess.run(["nvcc", "-cubin", SOURCE, "-o", tmp_path / "cubin"], check=True)
