"""The object that people hold: images in, scores out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from declip_rt import pipeline
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Engine
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.errors import ConfigError, DeclipError, EngineError, ImageError
from declip_rt.images import decode, sources
from declip_rt.images.decode import Decoded, Scratch
from declip_rt.images.views import least_side, write_views
from declip_rt.model.bundle import Bundle
from declip_rt.prompts import Prompts, axes
from declip_rt.score import Embedding, Facts, Score
from declip_rt.stats import Stats, cores

if TYPE_CHECKING:
    from declip_rt.backends.cuda.decoder import GpuDecoder

DECODE_SCALES = ("full", "auto")
DECODERS = ("cpu", "gpu")
CUDA = 2  # as DLPack numbers devices
ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[np.uint8] | Image.Image | Frame"


class Frame(Protocol):
    """An array of another library, on the host or on a GPU: of torch, CuPy, PyNvVideoCodec, …

    Those with `__cuda_array_interface__` alone are taken too.
    """

    def __dlpack__(self) -> object: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...


class Scorer:
    """Scores images with one bundle on one device.

    A scorer runs one call at a time, and a call runs until its iterator is exhausted or closed: give each thread its
    own. It is a context manager; closing it frees the engine.

    Args:
        model: a bundle's folder, or the name of an embedded one; None is `declip-tiny`.
        device: auto, cpu, cuda[:i] or tensorrt[:i]. What was chosen is `scorer.device` and `scorer.precision`.
        prompts: own scores, one for each; the bundle needs a text tower for them.
        batch: images that are computed together. The scores do not depend on it. 1 is for latency: all threads
            compute one image; with more each batch has its share of them, and several compute at once.
        workers: threads that read and decode; None is one a core.
        threads: threads that compute on a CPU; None is one a core. Cores are shared with the workers.
        decode_scale: full, or auto: large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size where the views need no
            more. Faster; scores differ slightly.
        precision: auto, fp32, fp16 or int8; auto is int8 on a CPU where the bundle proves that it scores as fp32 does,
            and fp16 with TensorRT where the bundle has such a graph.
        lanes: batches in flight on a GPU; None is its default.
        recipe: how to build a TensorRT plan: a TOML file, or the name of one that ships (`portable`); None is the
            default one.
        decoder: cpu, or gpu: JPEGs are decoded by nvImageCodec, on the GPU that scores. Pixels differ by rounding.
        say: told in a line what takes long, and what was done otherwise than asked.

    Raises:
        BundleError, EngineError, ConfigError: see `Bundle`, `open_engine` and `prompts.axes`; EngineError too where
            a call starts before the last has ended.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        device: str = "auto",
        *,
        prompts: Sequence[Prompts] = (),
        batch: int = 8,
        workers: int | None = None,
        threads: int | None = None,
        decode_scale: str = "full",
        precision: str = "auto",
        lanes: int | None = None,
        recipe: str | os.PathLike[str] | None = None,
        decoder: str = "cpu",
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.bundle = Bundle(model)
        self.prompts = tuple(prompts)
        self._axes = axes(self.bundle, self.prompts)
        for name, count in (("workers", workers), ("threads", threads)):
            if count is not None and count < 1:
                raise ConfigError(f"{name} must be at least 1, not {count}")
        self.workers = workers or cores()
        self.stats = Stats()
        for what, given, choices in (("decode scale", decode_scale, DECODE_SCALES), ("decoder", decoder, DECODERS)):
            if given not in choices:
                raise ConfigError(f"no {what} is called {given!r}; choose {' or '.join(choices)}")
        if decoder == "gpu" and decode_scale != "full":
            raise ConfigError("--decode gpu decodes whole images: leave --decode-scale out")
        self._least = least_side(self.bundle.views) if decode_scale == "auto" else None
        self._scratch = Scratch()
        self._engine = open_engine(
            self.bundle,
            device,
            batch,
            precision=precision,
            threads=threads,
            lanes=lanes,
            recipe=None if recipe is None else Recipe.find(recipe),
            stats=self.stats,
            say=say,
        )
        try:
            self._decoder = _gpu_decoder(self._engine) if decoder == "gpu" else None
        except DeclipError:
            self._engine.close()
            raise
        self.device, self.precision = self._engine.device, self._engine.precision
        self._busy = threading.Lock()

    def score(self, image: ImageLike) -> Score:
        """The score of one image. Raises ImageError.

        image: a path, encoded bytes, a Pillow image, or RGB uint8 (H, W, 3) of NumPy or another library. On a GPU it
        may be (3, H, W) too, and must not change before its score is there; `device` is then that GPU.
        """
        with closing(self.score_many([image])) as scores:
            return next(scores)

    @overload
    def score_many(self, images: Iterable[ImageLike], *, return_errors: Literal[False] = False) -> Generator[Score]: ...
    @overload
    def score_many(
        self, images: Iterable[ImageLike], *, return_errors: Literal[True]
    ) -> Generator[Score | ImageError]: ...
    def score_many(
        self, images: Iterable[ImageLike], *, return_errors: bool = False
    ) -> Generator[Score] | Generator[Score | ImageError]:
        """Yields the score of each image, in order; reads `images` only a few batches ahead.

        An image that cannot be scored raises its ImageError or, with `return_errors`, is yielded as that error.
        """
        for done in self.stream(images):
            if done.error is None:
                yield self.score_of(done)
            elif return_errors:
                yield done.error
            else:
                raise done.error

    def embed(self, image: ImageLike) -> Embedding:
        """The perceptual and the semantic feature of one image. Raises ImageError."""
        with closing(self.stream([image])) as stream:
            done = next(stream)
        if done.error is not None:
            raise done.error
        assert done.outputs is not None
        return Embedding(done.outputs.perceptual[done.row], done.outputs.semantic[done.row])

    def stream(self, images: Iterable[ImageLike]) -> Generator[pipeline.Done[ImageLike, Facts]]:
        """The pipeline's own records, for callers that need what `score_many` leaves out."""
        if not self._busy.acquire(blocking=False):
            raise EngineError("this scorer is scoring already: finish or close that iterator, or open a second Scorer")
        try:
            # A frame on a GPU is taken by the thread that gives it, whose stream its library has queued it on.
            yield from pipeline.run(images, self._prepare, self._engine, self.workers, self.stats, _is_on_gpu)
        finally:
            self._busy.release()

    def score_of(self, done: pipeline.Done[ImageLike, Facts]) -> Score:
        """The Score in a record without an error."""
        assert done.outputs is not None
        assert done.facts is not None
        values = {
            head.name: float(value)
            for head, value in zip(self.bundle.heads, done.outputs.scores[done.row], strict=True)
        }
        mos = {head: to_mos(values[head]) for head, to_mos in self.bundle.mos.items()} or None
        technical, aesthetic = values.pop("technical"), values.pop("aesthetic")
        percentile = self.bundle.percentile("technical", technical)
        prompts = {axis.name: axis.score(getattr(done.outputs, axis.space)[done.row]) for axis in self._axes}
        return Score(technical, aesthetic, values, percentile, done.facts.width, done.facts.height, prompts, mos)

    def close(self) -> None:
        self._engine.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, image: ImageLike, take: Callable[[], pipeline.Slot]) -> Facts:
        content = None
        if isinstance(image, (str, os.PathLike)):
            with self.stats.timed("read"):
                content = sources.read(image)
            image = content.data
        with self.stats.timed("decode"):
            decoded = self._decoded(image)
        with self.stats.timed("views"):
            if isinstance(decoded, Decoded):
                write_views(decoded.rgb, self.bundle.views, take().memory)
                size = decoded.width, decoded.height
            else:
                size = take().put(decoded)
        return Facts(*size, *(content.size, content.mtime_ns) if content else ())

    def _decoded(self, image: Any) -> Decoded | Frame:
        """Pixels on the host, or a frame on the GPU."""
        if isinstance(image, (bytes, bytearray, memoryview)):
            on_gpu: Frame | None = self._decoder.decode(bytes(image)) if self._decoder else None
            return decode.decode_for(bytes(image), self._least, self._scratch) if on_gpu is None else on_gpu
        if isinstance(image, Image.Image):
            rgb = decode.from_pil(image)
        elif isinstance(image, np.ndarray):
            rgb = decode.from_array(image)
        elif _is_on_gpu(image):
            frame: Frame = image
            return frame
        elif hasattr(image, "__dlpack__"):
            rgb = _from_dlpack(image)
        else:
            raise ImageError(
                f"cannot score a {type(image).__name__}; give a path, bytes, a Pillow image, or RGB uint8 (H, W, 3) "
                "of NumPy, torch, CuPy or the like"
            )
        return Decoded(rgb, rgb.shape[1], rgb.shape[0])


def _from_dlpack(image: Any) -> NDArray[np.uint8]:
    try:
        array: Any = np.from_dlpack(image)
    except Exception as error:  # each library has its own for types that NumPy lacks
        raise ImageError(f"cannot read a {type(image).__name__}: {error}") from error
    return decode.from_array(array)


def _gpu_decoder(engine: Engine) -> GpuDecoder:
    index = getattr(engine, "index", None)
    if index is None:
        raise ConfigError("--decode gpu needs --device tensorrt or cuda")
    from declip_rt.backends.cuda.decoder import GpuDecoder

    return GpuDecoder(index)


def _is_on_gpu(image: Any) -> bool:
    if hasattr(image, "__dlpack_device__"):
        return bool(image.__dlpack_device__()[0] == CUDA)
    return hasattr(image, "__cuda_array_interface__")
