"""One matrix product through TensorRT, to see what the GPU can do at all."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from declip_rt.backends.cuda.context import Context
from declip_rt.backends.trt import builder
from declip_rt.backends.trt.network import execution_context, kernel_cache, load_plan
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.errors import EngineError


class Product:
    """Two matrices on the GPU `index`; a call multiplies them, and returns the seconds that it took.

    graph: ONNX, with an input `left` and an output `product` as large as it. left: its values. Raises EngineError.
    """

    def __init__(self, graph: bytes, left: NDArray[Any], index: int, recipe: Recipe) -> None:
        self._context = Context(index)
        ahead = (self._context.target,) if recipe.library == "tensorrt_rtx" else ()
        with self._context.guarded("cannot multiply matrices"), TemporaryDirectory() as folder:
            path = Path(folder) / "product.onnx"
            path.write_bytes(graph)
            self._loaded = trt, _, _, engine = load_plan(builder.build_graph(path, recipe, targets=ahead), recipe)
            self._stream = self._context.stream()
            self._events = self._context.event(), self._context.event()
            pinned, self._pinned = self._context.pinned(left.shape, left.dtype)
            pinned[...] = left
            sizes = left.nbytes, left.nbytes, max(engine.device_memory_size_v2, 1)
            self._buffers = [self._context.memory(size, self._stream) for size in sizes]
            self._pinned.copy_to(self._buffers[0], stream=self._stream)
            self._execution = execution_context(trt, engine, kernel_cache(trt, engine))
            self._execution.set_device_memory(int(self._buffers[2].handle), sizes[2])
            for name, buffer in zip(("left", "product"), self._buffers, strict=False):
                self._execution.set_tensor_address(name, int(buffer.handle))

    def __call__(self) -> float:
        with self._context.guarded("cannot multiply matrices"):
            self._stream.record(self._events[0])
            if not self._execution.execute_async_v3(int(self._stream.handle)):
                raise EngineError(f"cannot multiply matrices: {self._loaded[1]}")
            self._stream.record(self._events[1])
            self._events[1].sync()
            return float(self._events[1] - self._events[0]) / 1e3
