"""Decodes JPEGs on the GPU, by NVIDIA's nvImageCodec."""

from __future__ import annotations

from typing import Any

from declip_rt.extras import load

JPEG = b"\xff\xd8\xff"
MOST_PIXELS = 178_956_970  # a larger photo is decoded where there is a budget for it


class GpuDecoder:
    """A decoder on the GPU `index` for each thread that decodes at once. Raises Unavailable without nvImageCodec."""

    def __init__(self, index: int) -> None:
        self._codec, self._index = load("nvidia.nvimgcodec"), index
        self._idle: list[Any] = []

    def decode(self, data: bytes) -> Any:
        """The image upright, RGB uint8 (H, W, 3) on the GPU. None where the CPU must decode it.

        The CPU must decode what is not a JPEG, exceeds MOST_PIXELS, or makes nvImageCodec fail; its error says why.
        """
        if not data.startswith(JPEG):
            return None
        decoder = self._take()
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
            return self._codec.Decoder(self._index, max_num_cpu_threads=1, options=":fancy_upsampling=1")
