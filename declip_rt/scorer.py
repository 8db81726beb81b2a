"""The object that people hold: images in, scores out."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from types import TracebackType
from typing import Literal, NoReturn, TypeAlias, TypeVar, get_args, overload

from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Engine, EngineInfo, EngineOptions, Precision
from declip_rt.errors import ConfigError, DeclipError, ImageError
from declip_rt.images.decode import Encoded
from declip_rt.images.load import (
    Broken,
    DecodeScale,
    Facts,
    Frame,
    ImageLike,
    Loaded,
    Loader,
    OnStream,
    Seen,
    is_on_gpu,
    is_one,
)
from declip_rt.images.memory import Budget
from declip_rt.model.bundle import Bundle
from declip_rt.pipeline import Done, Pipeline
from declip_rt.prompts import Prompts, axes
from declip_rt.score import Embedding, Score
from declip_rt.stats import Stats, cores
from declip_rt.workers import TIMEOUT

Decoder: TypeAlias = Literal["cpu", "gpu"]
Scored: TypeAlias = Done["ImageLike | Seen | Broken", Facts]
Result = TypeVar("Result", Score, Embedding)
GPU_WORKERS = 32  # threads that read for a GPU that decodes: so many images wait for it together


class Scorer:
    """Scores images with one bundle on one device.

    Threads may share a scorer: `score` and `embed` wait their turn, and calls that meet fill one batch together.
    Several iterators of `score_many` may be open at once; one that is not read to its end holds nobody up. Several
    scorers may share a GPU, where each takes memory of its own. A fork of the process needs a scorer of its own.

    It is a context manager. Closing it frees the engine, its memory and its threads at once.

    Args:
        model: a bundle's folder, or the name of an embedded one; None is `declip-tiny`.
        device: auto, cpu, cuda[:i|i,j|all], tensorrt[:i|i,j|all] or openvino[:CPU|GPU|NPU].
        prompts: own scores, one for each; the bundle needs a text tower for them.
        batch: images that are computed together; None is 8, and 32 on a GPU. Scores depend on it in FP16 and bf16
            alone, by 0.005 at most, and in FP8, by 0.01. 1 is for latency: all threads compute one image; with more
            each batch has its share of them, and several compute at once.
        workers: threads that read and decode; None is one a core, and 32 at least where a GPU decodes.
        threads: threads that compute on a CPU; None is one a core. Cores are shared with the workers.
        decode_scale: full, or auto: large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size where the views need no
            more. Faster; scores differ slightly.
        memory: bytes that images of many pixels share while they are decoded; one that needs more is an error. None is
            half of what the process may still use. A worker takes up to 128 MiB without asking.
        icc: whether colors are brought to sRGB where an image names its color space.
        strict: whether damage that leaves pixels to score is an error; else `Score.damaged` tells of it.
        timeout: seconds that an image may take to be read and decoded, and is an error after; None is any time. Its
            thread is left to itself: none can be stopped.
        precision: auto, fp32, fp16, bf16 (with OpenVINO), int8 or fp8 (with TensorRT); auto is int8 or bf16 on a CPU
            that computes it faster, where the bundle proves that it scores as fp32 does, and fp16 with TensorRT where
            the bundle has such a graph.
        lanes: batches in flight on a GPU; None is its default.
        recipe: how to build a TensorRT plan: a TOML file, or the name of one that ships (`portable`); None is the
            default one.
        decoder: cpu, or gpu: JPEGs are decoded by nvImageCodec, on the GPU that scores. Pixels differ by rounding.

    Attributes:
        bundle: the Bundle that was opened.
        engine: what computes, and where: an EngineInfo. Its `fallback` says why that is not what was asked for.
        prompts: the own scores.
        workers: threads that read and decode.
        stats: where the time went, so far.

    What is done otherwise than asked is logged as a warning, and what takes long as info, by the logger "declip_rt".

    Raises:
        BundleError: there is no such model, or it is damaged, or it lacks what is asked of it.
        EngineError: the device is missing or fails; a ParityError where it does not score as the reference does.
        Unavailable: an optional library is not installed.
        ConfigError: an argument is wrong, or does not go with another.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        device: str = "auto",
        *,
        prompts: Sequence[Prompts] = (),
        batch: int | None = None,
        workers: int | None = None,
        threads: int | None = None,
        decode_scale: DecodeScale = "full",
        memory: int | None = None,
        icc: bool = True,
        strict: bool = False,
        timeout: float | None = TIMEOUT,
        precision: Precision = "auto",
        lanes: int | None = None,
        recipe: str | os.PathLike[str] | None = None,
        decoder: Decoder = "cpu",
    ) -> None:
        ConfigError.check_counts(workers=workers)
        if memory is not None and memory < 1:
            raise ConfigError(f"`memory` must be at least 1 byte, not {memory}")
        if timeout is not None and not timeout > 0:
            raise ConfigError(f"`timeout` must be above 0 seconds, or None, not {timeout}")
        ConfigError.check_choice("decode_scale", decode_scale, get_args(DecodeScale))
        ConfigError.check_choice("decoder", decoder, get_args(Decoder))
        if decoder == "gpu" and decode_scale != "full":
            raise ConfigError('`decoder="gpu"` decodes whole images: leave `decode_scale` out')
        if decoder == "gpu" and strict:
            raise ConfigError('`decoder="gpu"` does not tell of damage: leave `strict` out')
        options = EngineOptions(
            device=device, precision=precision, batch=batch, threads=threads, lanes=lanes, recipe=recipe
        )
        self.bundle = Bundle(model)
        self.prompts = tuple(prompts)
        self.workers = workers or max(cores(), GPU_WORKERS if decoder == "gpu" else 0)
        self.stats = Stats()
        self._axes = axes(self.bundle, self.prompts)
        self._heads = [head.name for head in self.bundle.heads]
        engine = open_engine(self.bundle, options, self.stats)
        try:
            self._loader = Loader(
                self.bundle.views,
                self.stats,
                decode_scale,
                Budget(memory) if memory else None,
                icc=icc,
                strict=strict,
                on_gpu=_on_gpu(engine) if decoder == "gpu" else None,
            )
            # A frame on a GPU is taken by the thread that gives it, whose stream its library has queued it on.
            self._pipeline = Pipeline["ImageLike | Seen | Broken", Loaded, Facts](
                engine, self._loader.load, self._loader.place, self.workers, self.stats, is_on_gpu, timeout
            )
        except DeclipError:
            engine.close()
            raise
        self.engine: EngineInfo = engine.info

    def score(self, image: ImageLike, *, stream: object = None) -> Score:
        """The score of one image.

        image: a path, encoded bytes, a Pillow image, or RGB uint8 (H, W, 3) of NumPy or another library. Transparency
        is laid over white; of several frames the first counts, of a TIFF's pages the largest. On a GPU it may be
        (3, H, W) too, and must not change before its score is there; `device` is then that GPU.
        stream: of a frame on a GPU, the CUDA stream that writes it; see OnStream. Without one, it is what the frame's
            library says, or the default stream.

        Raises:
            ImageError: it cannot be read or decoded; `error.image` is its path.
            EngineError: the engine failed, or the scorer is closed or another process's.
        """
        return self._one(image if stream is None else OnStream(image, stream), self._score_of)

    def embed(self, image: ImageLike, *, stream: object = None) -> Embedding:
        """The perceptual and the semantic feature of one image, given as to `score`. Raises what `score` raises."""
        return self._one(image if stream is None else OnStream(image, stream), embedding_of)

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

        An image that cannot be scored raises its ImageError or, with `return_errors`, is yielded as that error; its
        `image` is the path, its `index` the place among the images.

        Raises:
            TypeError: `images` is one image.
            EngineError: as `score` does.
        """
        return self._many(images, self._score_of, return_errors)

    @overload
    def embed_many(
        self, images: Iterable[ImageLike], *, return_errors: Literal[False] = False
    ) -> Generator[Embedding]: ...
    @overload
    def embed_many(
        self, images: Iterable[ImageLike], *, return_errors: Literal[True]
    ) -> Generator[Embedding | ImageError]: ...
    def embed_many(
        self, images: Iterable[ImageLike], *, return_errors: bool = False
    ) -> Generator[Embedding] | Generator[Embedding | ImageError]:
        """Yields the features of each image, in order, as `score_many` yields scores."""
        return self._many(images, embedding_of, return_errors)

    @property
    def is_closed(self) -> bool:
        return self._pipeline.engine.is_closed

    def close(self) -> None:
        """Waits for what is on its way, and frees the engine. It may be called again; other calls then fail."""
        self._pipeline.close()
        self._loader.close()

    def __enter__(self) -> Scorer:
        self._pipeline.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Scorer cannot be pickled or copied; make one in each process, with the same arguments")

    def __repr__(self) -> str:
        info, closed = self.engine, ", closed" if self.is_closed else ""
        return f"Scorer({self.bundle.name}, {info.where}, {info.precision}, batch {info.batch}{closed})"

    def _one(self, image: ImageLike, result_of: Callable[[Scored], Result]) -> Result:
        done = self._pipeline.one(image)
        if done.error is not None:
            raise _named(done)
        return result_of(done)

    def _many(
        self, images: Iterable[ImageLike], result_of: Callable[[Scored], Result], return_errors: bool
    ) -> Generator[Result | ImageError]:
        stream = self._stream(images)  # here, so that the call itself raises

        def results() -> Generator[Result | ImageError]:
            with closing(stream):
                for index, done in enumerate(stream):
                    if done.error is None:
                        yield result_of(done)
                    elif return_errors:
                        yield _named(done, index)
                    else:
                        raise _named(done, index)

        return results()

    def _stream(self, images: Iterable[ImageLike | Seen]) -> Generator[Scored]:
        """The pipeline's own records, for those in this package that need what `score_many` leaves out."""
        if is_one(images):
            raise TypeError(f"images must be an iterable of images, not one {type(images).__name__}; give [image]")
        self._pipeline.check()
        return self._pipeline.run(map(self._loader.own, images))

    def _score_of(self, done: Scored) -> Score:
        """The Score in a record without an error."""
        assert done.outputs is not None
        assert done.facts is not None
        values = dict(zip(self._heads, done.outputs.scores[done.row].tolist(), strict=True))
        mos = {head: to_mos(values[head]) for head, to_mos in self.bundle.mos.items()}
        technical, aesthetic = values.pop("technical"), values.pop("aesthetic")
        percentile = self.bundle.percentile("technical", technical)
        prompts = {axis.name: axis.score(getattr(done.outputs, axis.space)[done.row]) for axis in self._axes}
        facts = done.facts
        told = {"damaged": facts.damaged, "preview": facts.preview}
        return Score(technical, aesthetic, values, percentile, facts.width, facts.height, prompts, mos, **told)


def embedding_of(done: Scored) -> Embedding:
    assert done.outputs is not None
    return Embedding(done.outputs.perceptual[done.row], done.outputs.semantic[done.row])


def _named(done: Scored, index: int | None = None) -> ImageError:
    """The record's error, which knows its image."""
    assert done.error is not None
    done.error.image = os.fsdecode(done.item) if isinstance(done.item, (str, os.PathLike)) else None
    done.error.index = index
    return done.error


def _on_gpu(engine: Engine) -> Callable[[Encoded], Frame | None]:
    if engine.info.index is None:
        raise ConfigError('`decoder="gpu"` needs `device="tensorrt"` or `device="cuda"`, of one GPU')
    from declip_rt.backends.cuda.context import Context
    from declip_rt.backends.cuda.decoder import GpuDecoder

    return GpuDecoder(Context(engine.info.index)).decode
