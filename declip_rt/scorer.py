"""The object that people hold: images in, scores out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from declip_rt import decode, pipeline, sources
from declip_rt.bundle import Bundle
from declip_rt.decode import Decoded, Scratch
from declip_rt.engine import Floats, open_engine
from declip_rt.errors import ConfigError, EngineError, ImageError
from declip_rt.prompts import Prompts, axes
from declip_rt.stats import Stats, cores
from declip_rt.views import least_side, write_views

DECODE_SCALES = ("full", "auto")
ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[np.uint8] | Image.Image"


@dataclass(frozen=True, slots=True)
class Score:
    """What the model says of one image.

    technical, aesthetic: in [0, 1], higher is better. attributes: name -> value in [0, 1], whose ends the bundle names
    (`Head.low`, `Head.high`). percentile: the share, in percent, of the bundle's reference photos whose technical score
    is lower; None where the bundle has no reference. width, height: of the image, upright, in pixels. prompts: name ->
    value in [0, 1] of the scorer's own prompts. mos: head -> MOS, in the units of its raters, for each head that the
    bundle maps to MOS (`declip-rt calibrate`); None where it maps none.
    """

    technical: float
    aesthetic: float
    attributes: Mapping[str, float]
    percentile: float | None
    width: int
    height: int
    prompts: Mapping[str, float] = field(default_factory=dict)
    mos: Mapping[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """A plain, JSON-ready dictionary."""
        return {
            "technical": self.technical,
            "aesthetic": self.aesthetic,
            "attributes": dict(self.attributes),
            "percentile": self.percentile,
            "width": self.width,
            "height": self.height,
            "prompts": dict(self.prompts),
            "mos": None if self.mos is None else dict(self.mos),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The two parts of an image's feature, each float32 (D,) and L2-normalised."""

    perceptual: Floats
    semantic: Floats


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an image before it is scored. size (bytes) and mtime_ns are those of its file, if it has one."""

    width: int
    height: int
    size: int | None = None
    mtime_ns: int | None = None


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
        precision: auto, fp32 or int8; auto is int8 on a CPU where the bundle proves that it scores as fp32 does.

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
    ) -> None:
        self.bundle = Bundle(model)
        self.prompts = tuple(prompts)
        self._axes = axes(self.bundle, self.prompts)
        for name, count in (("workers", workers), ("threads", threads)):
            if count is not None and count < 1:
                raise ConfigError(f"{name} must be at least 1, not {count}")
        self.workers = workers or cores()
        self.stats = Stats()
        if decode_scale not in DECODE_SCALES:
            raise ConfigError(f"no decode scale is called {decode_scale!r}; choose {' or '.join(DECODE_SCALES)}")
        self._least = least_side(self.bundle.views) if decode_scale == "auto" else None
        self._scratch = Scratch()
        self._engine = open_engine(self.bundle, device, batch, precision=precision, threads=threads, stats=self.stats)
        self.device, self.precision = self._engine.device, self._engine.precision
        self._busy = threading.Lock()

    def score(self, image: ImageLike) -> Score:
        """The score of one image: a path, encoded bytes, RGB uint8 (H, W, 3), or a Pillow image. Raises ImageError."""
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
            yield from pipeline.run(images, self._prepare, self._engine, self.workers, self.stats)
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

    def _prepare(self, image: ImageLike, slot: Callable[[], NDArray[np.uint8]]) -> Facts:
        content = None
        if isinstance(image, (str, os.PathLike)):
            with self.stats.timed("read"):
                content = sources.read(image)
            image = content.data
        with self.stats.timed("decode"):
            if isinstance(image, (bytes, bytearray, memoryview)):
                decoded = decode.decode_for(bytes(image), self._least, self._scratch)
            else:
                decoded = _pixels(image)
        with self.stats.timed("views"):
            write_views(decoded.rgb, self.bundle.views, slot())
        return Facts(decoded.width, decoded.height, *(content.size, content.mtime_ns) if content else ())


def _pixels(image: ImageLike) -> Decoded:
    if isinstance(image, np.ndarray):
        rgb = decode.from_array(image)
    elif isinstance(image, Image.Image):
        rgb = decode.from_pil(image)
    else:
        raise ImageError(
            f"cannot score a {type(image).__name__}; give a path, bytes, a uint8 array (H, W, 3) or a Pillow image"
        )
    return Decoded(rgb, rgb.shape[1], rgb.shape[0])
