"""JPEGs decoded on the GPU, by NVIDIA's nvImageCodec."""

from __future__ import annotations

import threading
from typing import Any

from declip_rt.decode import MAX_PIXELS
from declip_rt.errors import EngineError

JPEG = b"\xff\xd8\xff"


class GpuDecoder(threading.local):
    """Each thread's decoder on the GPU `index`. Raises EngineError where nvImageCodec is not installed."""

    def __init__(self, index: int) -> None:
        try:
            from nvidia import nvimgcodec
        except Exception as error:  # a missing CUDA library is an OSError
            raise EngineError(
                f'nvImageCodec cannot be used ({error}); pip install "declip-rt[gpu-decode]", or leave --decode gpu out'
            ) from error
        self._source = nvimgcodec.CodeStream
        self._decoder = nvimgcodec.Decoder(index, max_num_cpu_threads=1, options=":fancy_upsampling=1")

    def decode(self, data: bytes) -> Any:
        """The image upright, RGB uint8 (H, W, 3) on the GPU; None where it is a matter for the CPU.

        That is whatever is no JPEG, is larger than the CPU's limit, or makes nvImageCodec fail: the CPU says why.
        """
        if not data.startswith(JPEG):
            return None
        try:
            source = self._source(data)
            return self._decoder.decode(source) if source.width * source.height <= MAX_PIXELS else None
        except RuntimeError:
            return None
