"""An encode beside its source: the same moments of both, scored and measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from declip_rt.errors import ImageError
from declip_rt.images.color import HDR
from declip_rt.images.decode import RGB, TURNS
from declip_rt.scorer import Scorer
from declip_rt.video.alignment import LOOKED_AT, REACH, Course, Offset, find_offset, nearest
from declip_rt.video.container import blank, open_container, pick_stream
from declip_rt.video.decoder import Decoder
from declip_rt.video.fidelity import MOST, Fidelity, Meter, average
from declip_rt.video.pixels import UPRIGHT, Pixels, aspect_of, build_graph, conversion
from declip_rt.video.sampling import Grid, Picture
from declip_rt.video.shrinker import Shrinker

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Floats: TypeAlias = NDArray[np.float64]
TINY = (32, 18)  # pixels of a picture that tells offsets apart
Path: TypeAlias = "str | os.PathLike[str]"


@dataclass(frozen=True)
class Comparison:
    """What was found of an encode.

    Attributes:
        offset: how it lies beside the source.
        times: (n,) the moments that were scored, in seconds of the source.
        source, encode: head -> its scores (n,) of both.
        moments: (m,) of all pairs of pictures. xpsnr: (m, planes) in dB. ssim: (m,).
        end: where the last pair ends, in seconds of the source.
    """

    offset: Offset
    times: Floats
    source: Mapping[str, Floats]
    encode: Mapping[str, Floats]
    moments: Floats
    xpsnr: Floats
    ssim: Floats
    end: float

    def seconds_by_change(self) -> list[float]:
        """The moments whose technical score fell, the one where it fell most first."""
        change = self.deltas["technical"]
        return [float(self.times[at]) for at in np.argsort(change, kind="stable") if change[at] < 0]

    def seconds_by_xpsnr(self) -> list[int]:
        """The seconds of the source that are not met exactly, the farthest first."""
        seconds = np.floor(self.moments).astype(int)
        of = {int(each): average(self.xpsnr[seconds == each]) for each in np.unique(seconds)}
        return sorted((each for each in of if of[each] < MOST), key=lambda second: of[second])

    @property
    def deltas(self) -> dict[str, Floats]:
        """What each head changes by, encode less source: (n,)."""
        return {name: self.encode[name] - values for name, values in self.source.items()}


@dataclass
class Comparer:
    """Compares encodes with one source, whose scores and changes are found once.

    every: seconds between scored moments. color, allow_network: as those of Reader.
    """

    scorer: Scorer
    source: Path
    every: float = 1.0
    color: str = "auto"
    allow_network: bool = False
    _scores: dict[float, Mapping[str, float]] = field(default_factory=dict, repr=False)  # of the source, by time
    _course: Course | None = field(default=None, repr=False)

    def look(self) -> Course:
        """How the source goes on. Raises ImageError where it cannot be read."""
        if self._course is None:
            self._course = self._course_of(self.source)
        return self._course

    @property
    def length(self) -> float:
        """Seconds of the source, as its container says; 0 where it does not."""
        with closing(self._open(self.source)) as video:
            return video.length

    def compare(self, encode: Path) -> Comparison:
        """Raises ImageError where one of both cannot be read, or both do not show the same seconds."""
        offset = find_offset(self.look(), self._course_of(encode))
        if not offset.is_sure:
            raise ImageError(f"it does not show what its source shows, with no offset up to {REACH:g} s")
        with ExitStack() as opened:
            videos = [opened.enter_context(closing(self._open(each))) for each in (self.source, encode)]
            pairs = _Pairs(videos[0], videos[1], offset)
            scores = self._score(pairs)
        if not pairs.moments:
            raise ImageError("it shows no second of the source")
        times = [time for time in pairs.sampled if time in scores]
        heads = list(scores[times[0]])
        source, made = (
            {head: np.array([of[time][head] for time in times]) for head in heads} for of in (self._scores, scores)
        )
        moments, found = np.array(pairs.moments), pairs.found
        return Comparison(
            offset,
            np.array(times),
            source,
            made,
            moments,
            np.array([each.xpsnr for each in found]),
            np.array([each.ssim for each in found]),
            pairs.end,
        )

    def _score(self, pairs: _Pairs) -> dict[float, Mapping[str, float]]:
        """The encode's scores by the source's time; the source's where they are not known yet."""
        asked: list[tuple[dict[float, Mapping[str, float]], float]] = []
        made: dict[float, Mapping[str, float]] = {}

        def images() -> Iterator[RGB]:
            for time, source, encode in pairs.samples(self.every):
                shown = pairs.source.pixels.convert(source.frame)
                if time not in self._scores:
                    asked.append((self._scores, time))
                    yield shown
                asked.append((made, time))
                yield _sized(pairs.encode.pixels.convert(encode.frame), shown.shape)

        for at, score in enumerate(self.scorer.score_many(images())):
            of, time = asked[at]
            of[time] = {"technical": score.technical, "aesthetic": score.aesthetic, **score.attributes}
        return made

    def _course_of(self, path: Path) -> Course:
        with closing(self._open(path)) as video:
            course = [*_course(video.decoder.pictures())]
            if not course:
                raise blank(video.decoder.container)
        times, changes, pictures = zip(*course, strict=True)
        return Course(np.array(times), np.array(changes), np.stack(pictures))

    def _open(self, path: Path) -> _Video:
        return _Video(path, self.color, self.allow_network)


class _Video:
    """A video that is open."""

    def __init__(self, path: Path, color: str, allow_network: bool) -> None:
        self._container = open_container(path, allow_network)
        try:
            stream = pick_stream(self._container)
            self.decoder, self.pixels = Decoder(self._container, stream), Pixels(color, aspect_of(stream))
            own = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            self.length = own or (self._container.duration or 0) / 1e6
        except BaseException:
            self._container.close()
            raise

    def close(self) -> None:
        self._container.close()


class _Pairs:
    """The pictures of a source, each with its counterpart: all are measured, and some are given to be scored."""

    def __init__(self, source: _Video, encode: _Video, offset: Offset) -> None:
        self.source, self.encode = source, encode
        self._offset = offset
        self.moments: list[float] = []
        self.found: list[Fidelity] = []
        self.sampled: list[float] = []
        self.end = 0.0

    def samples(self, every: float) -> Iterator[tuple[float, Picture, Picture]]:
        """The moments that are to be scored, with both pictures. Raises ImageError."""
        meter, grid = Meter(), Grid(every)
        before: tuple[float, Picture, Picture] | None = None
        for source, encode in nearest(
            self.source.decoder.pictures(), self.encode.decoder.pictures(), self._offset.seconds
        ):
            _check_range(source.frame, encode.frame)
            for video, picture in ((self.source, source), (self.encode, encode)):
                picture.frame.colorspace = video.pixels.matrix(picture.frame)[0]
            if grid.push(source) and before:
                yield self._sampled(before)
            with conversion(encode.frame):
                self.found.append(meter.measure(source.frame, encode.frame))
            self.moments.append(source.time)
            self.end = source.until
            before = (source.time, source, encode)
        if before and grid.flush(self.end):
            yield self._sampled(before)

    def _sampled(self, moment: tuple[float, Picture, Picture]) -> tuple[float, Picture, Picture]:
        self.sampled.append(moment[0])
        return moment


def _check_range(source: VideoFrame, encode: VideoFrame) -> None:
    """Raises ImageError where one of both is of high dynamic range alone."""
    names = [HDR.get(frame.color_trc, "standard dynamic range") for frame in (source, encode)]
    if names[0] != names[1]:
        raise ImageError(f"it is {names[1]} and its source {names[0]}: bring both into one")


def _sized(rgb: RGB, shape: tuple[int, ...]) -> RGB:
    """The picture in the source's size, which is how its viewers see it."""
    if rgb.shape == shape:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _course(pictures: Iterator[Picture]) -> Iterator[tuple[float, float, NDArray[np.uint8]]]:
    """The time of each picture, how it differs from the one before (in percent, by FFmpeg's scdet), and a small one."""
    shrinker, graph = Shrinker(), None
    for picture in pictures:
        if picture.time > LOOKED_AT:
            return
        small, turned = shrinker.shrink(picture), picture.frame.rotation
        graph = graph or build_graph(small, ("scdet", "t=10"))
        graph.vpush(small)
        tiny = np.asarray(shrinker.to_gray(small, *(TINY[::-1] if abs(turned) == 90 else TINY)).to_ndarray(), np.uint8)
        upright = TURNS[UPRIGHT.get(turned, 1)](tiny)
        yield picture.time, float(graph.vpull().metadata.get("lavfi.scd.mafd", 0)), upright.ravel()
