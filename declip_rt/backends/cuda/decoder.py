"""Decodes JPEGs on the GPU, by NVIDIA's nvImageCodec."""

from __future__ import annotations

import io
import threading
from collections import deque
from typing import Any

from PIL import Image

from declip_rt.backends.cuda.context import Context
from declip_rt.errors import Unavailable
from declip_rt.extras import load
from declip_rt.images.decode import Encoded
from declip_rt.stats import cores

KINDS = ("HW_GPU_ONLY", "GPU_ONLY", "HYBRID_CPU_GPU")  # of nvImageCodec's backends; its CPU one is slower than ours
MOST_PIXELS = 178_956_970  # a larger photo is decoded where there is a budget for it
MOST_AT_ONCE, GROUP_BYTES = 64, 256 * 2**20  # images that are decoded together, and their pixels on the GPU


class GpuDecoder:
    """One decoder on the context's GPU, for all threads: those that come while it is at work are decoded together next.

    The GPU's JPEG engines work on the images of one call at once.

    Raises Unavailable without nvImageCodec, or where it decodes no JPEG on the GPU.
    """

    def __init__(self, context: Context) -> None:
        self._codec, self._context = load("nvidia.nvimgcodec"), context
        self._waiting, self._working = deque[_Request](), threading.Lock()
        kinds = self._codec.BackendKind
        with context.guarded("cannot open nvImageCodec"):
            self._stream = context.stream()
            self._decoder = self._codec.Decoder(
                context.index,
                max_num_cpu_threads=cores(),
                backends=[self._codec.Backend(getattr(kinds, kind)) for kind in KINDS],
                options=":fancy_upsampling=1",
            )
        if self.decode(Encoded(_probe())) is None:
            raise Unavailable(
                "nvImageCodec decodes no JPEG on this GPU; check that it has memory left and nvJPEG is installed: "
                'pip install "declip-rt[gpu-decode]", or leave `decoder="gpu"` out',
                name="nvidia.nvimgcodec",
            )

    def decode(self, image: Encoded) -> Any:
        """The image upright, RGB uint8 (H, W, 3) on the GPU. None where the CPU must decode it.

        The CPU must decode what exceeds MOST_PIXELS, and what makes nvImageCodec fail; its error says why.
        """
        width, height = image.size
        if width * height > MOST_PIXELS:
            return None
        request = _Request(image.data, 3 * width * height)
        self._waiting.append(request)
        with self._working:
            while not request.is_done:  # another thread may have taken it along
                self._decode_next()
        if request.error is not None:
            raise request.error
        return request.frame

    def _decode_next(self) -> None:
        """Decodes those that wait, up to the bounds."""
        group, size = [self._waiting.popleft()], 0
        while self._waiting and len(group) < MOST_AT_ONCE:
            size += group[-1].size
            if size + self._waiting[0].size > GROUP_BYTES:
                break
            group.append(self._waiting.popleft())
        try:
            with self._context.guarded("cannot decode"):  # it allocates on the current device
                self._decode(group)
        except Exception as error:
            for request in group:
                request.error = error
        for request in group:
            request.is_done = True

    def _decode(self, group: list[_Request]) -> None:
        sources = [self._source(request.data) for request in group]
        read = [(request, source) for request, source in zip(group, sources, strict=True) if source is not None]
        try:
            frames = self._decoder.decode([source for _, source in read], cuda_stream=int(self._stream.handle))
        except RuntimeError:  # no room for them
            return
        for (request, _), frame in zip(read, frames, strict=True):
            request.frame = frame

    def _source(self, data: bytes) -> Any:
        try:
            return self._codec.CodeStream(data)
        except RuntimeError:
            return None


class _Request:
    """An image that a thread waits for, and what became of it."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size, self.is_done = data, size, False  # size: bytes of pixels
        self.frame: Any = None
        self.error: Exception | None = None


def _probe() -> bytes:
    """A JPEG."""
    made = io.BytesIO()
    Image.new("RGB", (64, 64), "gray").save(made, "JPEG")
    return made.getvalue()
