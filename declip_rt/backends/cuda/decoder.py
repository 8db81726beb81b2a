"""Decodes JPEGs on the GPU, by NVIDIA's nvImageCodec."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from declip_rt.backends.cuda.context import Context
from declip_rt.errors import Unavailable
from declip_rt.extras import load

JPEG = b"\xff\xd8\xff"
KINDS = ("HW_GPU_ONLY", "GPU_ONLY", "HYBRID_CPU_GPU")  # of nvImageCodec's backends; its CPU one is slower than ours
MOST_PIXELS = 178_956_970  # a larger photo is decoded where there is a budget for it


class GpuDecoder:
    """A decoder on the context's GPU for each thread that decodes at once.

    Raises Unavailable without nvImageCodec, or where it decodes no JPEG on the GPU.
    """

    def __init__(self, context: Context) -> None:
        self._codec, self._context = load("nvidia.nvimgcodec"), context
        self._idle: list[Any] = []
        if self.decode(_probe()) is None:
            raise Unavailable(
                "nvImageCodec decodes no JPEG on this GPU; check that it has memory left and nvJPEG is installed: "
                'pip install "declip-rt[gpu-decode]", or leave `decoder="gpu"` out',
                name="nvidia.nvimgcodec",
            )

    def decode(self, data: bytes) -> Any:
        """The image upright, RGB uint8 (H, W, 3) on the GPU. None where the CPU must decode it.

        The CPU must decode what is not a JPEG, exceeds MOST_PIXELS, or makes nvImageCodec fail; its error says why.
        """
        if not data.startswith(JPEG):
            return None
        with self._context.guarded("cannot decode"):  # it allocates on the current device
            try:
                decoder = self._take()
            except RuntimeError:  # no room for one more
                return None
            try:
                source = self._codec.CodeStream(data)
                return decoder.decode(source) if source.width * source.height <= MOST_PIXELS else None
            except RuntimeError:
                return None
            finally:
                self._idle.append(decoder)

    def _take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:  # all are at work
            kinds = self._codec.BackendKind
            return self._codec.Decoder(
                self._context.index,
                max_num_cpu_threads=1,
                backends=[self._codec.Backend(getattr(kinds, kind)) for kind in KINDS],
                options=":fancy_upsampling=1",
            )


def _probe() -> bytes:
    """A JPEG."""
    made = io.BytesIO()
    Image.new("RGB", (64, 64), "gray").save(made, "JPEG")
    return made.getvalue()
