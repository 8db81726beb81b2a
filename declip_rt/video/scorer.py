"""Videos in, scores over time out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from declip_rt.errors import ConfigError, ImageError
from declip_rt.images.load import ImageLike, Seen
from declip_rt.score import Score
from declip_rt.scorer import Scorer
from declip_rt.video.arrays import PIXELS, to_image
from declip_rt.video.container import Source
from declip_rt.video.events import Event
from declip_rt.video.facts import Facts
from declip_rt.video.handover import Behind, Handover
from declip_rt.video.reader import Reader
from declip_rt.video.reference import Reference
from declip_rt.video.timeline import Floats, Pooled, low, pool


@dataclass(frozen=True, slots=True, eq=False)
class VideoScore:
    """What the model says of a video, over time.

    Attributes:
        times: (n,) seconds of the samples, from the first picture.
        heads: technical, aesthetic and all attributes, each (n,), in [0, 1].
        percentiles: (n,) the share, in percent, of the reference whose technical score is lower; None without one.
        flags: of each sample, such as ("corrupt",).
        events: what happens, in order; see Event.
        pooled: each head over time; the headline is `pooled["technical"].hysteresis`.
        facts: of the stream.
        duration: seconds that were read.
    """

    times: Floats
    heads: Mapping[str, Floats]
    percentiles: Floats | None
    flags: Sequence[tuple[str, ...]]
    events: Sequence[Event]
    pooled: Mapping[str, Pooled]
    facts: Facts
    duration: float

    def __repr__(self) -> str:
        quality = self.pooled["technical"].hysteresis
        return f"VideoScore({self.duration:.1f} s, {len(self.times)} samples, technical {quality:.3f})"


class VideoScorer:
    """Scores videos with a Scorer, which stays its owner's to close. Threads may share it.

    reference: what scores are compared with; None is the bundle's reference photos.
    """

    def __init__(self, scorer: Scorer, reference: Reference | None = None) -> None:
        self.scorer = scorer
        self.reference = reference or Reference.of(scorer.bundle)

    def score(
        self,
        source: Source,
        *,
        every: float | Literal["auto"] = 1.0,
        fps: float | None = None,
        keyframes: bool = False,
        start: float = 0.0,
        end: float | None = None,
        color: str = "auto",
        deinterlace: bool = False,
        allow_network: bool = False,
    ) -> VideoScore:
        """The scores of a video: a path, a file object, or a container of PyAV. The options are those of Reader.

        Memory does not grow with the video's length but for the scores themselves.

        Raises:
            ImageError: it cannot be read, or has no picture between `start` and `end`.
            ConfigError: an option is wrong.
            Unavailable: PyAV is not installed.
            EngineError: as `Scorer.score` does.
        """
        with Reader(
            source,
            every=every,
            fps=fps,
            keyframes=keyframes,
            start=start,
            end=end,
            color=color,
            deinterlace=deinterlace,
            allow_network=allow_network,
        ) as reader:
            times: list[float] = []
            flags: list[tuple[str, ...]] = []

            def views() -> Iterator[Seen]:
                for sample in reader.samples():
                    times.append(sample.time)
                    flags.append(sample.flags)
                    yield self.scorer._loader.cut(sample.rgb)  # pictures that wait for a lane would take much memory

            with closing(self.scorer._stream(views())) as stream:
                found = [self.scorer._score_of(done) for done in stream]
            if not found:
                raise ImageError(f"no picture from {start:g} s on" + (f" up to {end:g} s" if end is not None else ""))
            return self._video_score(np.array(times), found, flags, reader, start)

    def stream(
        self, frames: Iterable[tuple[float, object]], *, pixels: str = "rgb24", behind: Behind = "block"
    ) -> Iterator[tuple[float, Score]]:
        """Yields (time, Score) of each frame, in order.

        frames: (time, frame) as they come. A frame is uint8 of NumPy: (H, W, 3) for rgb24 and bgr24; for yuv420p and
            nv12 the planes as a sequence of arrays, or one below the other in (1.5 * H, W). It may be what else
            `Scorer.score` takes, such as a frame on a GPU, and is scored as it is then.
        pixels: rgb24, bgr24, yuv420p or nv12. YUV is taken as BT.709 from 720 lines on, else BT.601, of limited range.
        behind: what happens where frames come faster than they are scored. block: they are read no further ahead than
            the engine's lanes hold. drop: a thread reads them all, each is scored as soon as it comes, and of those
            that came meanwhile the newest.

        Raises:
            ConfigError: `pixels` or `behind` is none of these.
            ImageError: a frame has another form.
        """
        ConfigError.check_choice("pixels", pixels, PIXELS)
        ConfigError.check_choice("behind", behind, get_args(Behind))
        return self._live(frames, pixels) if behind == "drop" else self._batched(frames, pixels)

    def _live(self, frames: Iterable[tuple[float, object]], pixels: str) -> Iterator[tuple[float, Score]]:
        for time, frame in Handover(frames, "drop"):
            yield time, self.scorer.score(to_image(frame, pixels))

    def _batched(self, frames: Iterable[tuple[float, object]], pixels: str) -> Iterator[tuple[float, Score]]:
        times: list[float] = []  # of the frames on their way

        def images() -> Iterator[ImageLike]:
            for time, frame in frames:
                times.append(time)
                yield to_image(frame, pixels)

        with closing(self.scorer.score_many(images())) as scores:
            for score in scores:
                yield times.pop(0), score

    def _video_score(
        self, times: Floats, scores: Sequence[Score], flags: Sequence[tuple[str, ...]], reader: Reader, start: float
    ) -> VideoScore:
        heads = {head: np.array([score[head] for score in scores]) for head in self.reference.names}
        ranks = [self.reference.percentile("technical", score.technical) for score in scores]
        end = start + reader.duration
        since = np.maximum(times, start)  # the first may stand from before
        cuts = [event.start for event in reader.events if event.kind == "scene"]
        dark = [event for event in reader.events if event.kind == "black"]
        attributes = {name: values for name, values in heads.items() if name != "aesthetic"}
        lows = low(since, attributes, cuts, self.reference.percentiles, end)
        return VideoScore(
            times,
            heads,
            None if None in ranks else np.array(ranks, np.float64),
            flags,
            sorted([*reader.events, *(event for event in lows if not _is_in(event, dark, since))]),
            {name: pool(since, values, end) for name, values in heads.items()},
            reader.facts,
            reader.duration,
        )


def _is_in(event: Event, others: Sequence[Event], times: Floats) -> bool:
    """Whether all samples of an event are in others."""
    inside = times[(times >= event.start) & (times < event.end)]
    return all(any(other.start <= time <= other.end for other in others) for time in inside)
