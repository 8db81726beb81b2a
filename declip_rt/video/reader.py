"""Reads a video: its pictures at chosen times, and what happens in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal

from declip_rt.errors import ConfigError, ImageError
from declip_rt.images.decode import RGB
from declip_rt.video.cadence import Cadence
from declip_rt.video.container import Source, blank, is_container, open_container, pick_stream
from declip_rt.video.decoder import Decoder
from declip_rt.video.events import Event, join_freezes
from declip_rt.video.facts import Facts
from declip_rt.video.pixels import Pixels, aspect_of, check_size
from declip_rt.video.sampling import SLACK, All, Auto, Grid, Picture
from declip_rt.video.signals import Signals


@dataclass(frozen=True)
class Sample:
    """A picture. time: seconds from the first. rgb: uint8 (H, W, 3), upright sRGB. flags: such as "corrupt"."""

    time: float
    rgb: RGB
    flags: tuple[str, ...] = ()


class Reader:
    """A video that is open. A context manager.

    Memory does not grow with its length.

    Args:
        source: a path, a file object, a container of PyAV, or with `allow_network` an address. A container is read
            from its start, however far it was read, and stays open, at another place.
        every: seconds between samples; "auto" takes one a second and four around cuts and the ends of freezes.
        fps: samples a second, in the place of `every`.
        keyframes: takes all pictures that are coded by themselves and decodes no others: many times faster, but
            cuts, freezes and black are not looked for.
        start, end: seconds from the first picture between which is read.
        color: the matrix of YUV. "auto" takes the stream's own; where it has none BT.709 from 720 lines, else BT.601.
        deinterlace: makes interlaced pictures whole.
        allow_network: lets FFmpeg reach addresses that the source is or names, such as those of a playlist.

    Attributes:
        facts: of the stream. Whether it is interlaced and its rate varies is known after `samples`.
        events: complete after `samples`, in order.
        duration: seconds from `start` to the end of what was read.

    Raises:
        ImageError: not a video, or one that cannot be read.
        ConfigError: an argument is wrong.
        Unavailable: PyAV is not installed.
    """

    def __init__(
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
    ) -> None:
        self._every = step_of(every, fps)
        check_span(start, end)
        self._keyframes, self._start, self._end = keyframes, start, end
        self.duration = 0.0
        self._told: list[Event] = []
        self._is_read = False
        self._seekable = not hasattr(source, "read") or (hasattr(source, "seekable") and source.seekable())
        self._container = open_container(source, allow_network)
        self._held = ExitStack()
        if not is_container(source):
            self._held.callback(self._container.close)
        try:
            stream = pick_stream(self._container)
            self._decoder = Decoder(self._container, stream, keyframes=keyframes, deinterlace=deinterlace)
            if is_container(source):
                self._held.callback(self._decoder.close)
                self._decoder.begin()
            self._pixels = Pixels(color, aspect_of(stream))
            self._pictures = self._decoder.pictures()
            self._first = next(self._pictures, None)
            if self._first is None:
                raise blank(self._container)
            check_size(self._first.frame)
            self.facts = replace(Facts.of(stream, self._first.frame, self._pixels), interlaced=self._decoder.interlaced)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Lets the file go."""
        self._held.close()

    @property
    def events(self) -> list[Event]:
        """What has been seen until now, in order."""
        if self._is_read:
            return self._told
        decoder = self._decoder
        seen = self._told + decoder.damages.events() + decoder.clock.events + decoder.resizes
        return sorted(each for each in seen if each.end >= self._start)

    def samples(self) -> Iterator[Sample]:
        """The chosen pictures in their order, once: a reader reads once. Raises ImageError."""
        if self._first is None:
            raise ConfigError("`samples` was read before; open the video again")
        first, self._first = self._first, None
        pictures: Iterator[Picture] = itertools.chain([first], self._pictures)
        if self._start > first.until and self._seekable:
            pictures = self._decoder.pictures_from(self._start)
        cadence, signals = Cadence(), None if self._keyframes else Signals()
        until, chosen = self._start, self._choose()
        for picture in pictures:
            if self._end is not None and picture.time >= self._end - SLACK:
                until = self._end  # the one before stands until here
                cadence.push(until)
                break
            until = picture.until
            taken = chosen.push(picture)
            moments = cadence.push(picture.time)
            if signals and picture.until > self._start:
                moments += signals.push(picture)
            if isinstance(chosen, Auto):
                for moment in moments:
                    chosen.mark(moment)
            yield from map(self._sample, taken)
        else:
            if self._keyframes:
                until = max(until, self._decoder.end)
            if missing := self._decoder.missing(until):
                self._told.append(missing)
        until = until if self._end is None else min(until, self._end)
        yield from map(self._sample, chosen.flush(until))
        if signals:
            signals.close(until)
            self._told += join_freezes(signals.events + cadence.stalls) + cadence.lost()
        self.duration = max(0.0, until - self._start)
        self.facts = replace(self.facts, vfr=self._decoder.varies(), interlaced=self._decoder.interlaced)
        self._told, self._is_read = self.events, True

    def at(self, time: float) -> Sample:
        """The picture that stands at this time, in seconds from the first. `samples` cannot be read on then."""
        self._first = None
        found = None
        for picture in self._decoder.pictures_from(time):
            if found and picture.time > time + SLACK:
                break
            found = picture
        if found is None:
            raise ImageError(f"no picture at {time:.3f} s")
        return self._sample(found)

    def _choose(self) -> All | Auto | Grid:
        if self._keyframes:
            return All(self._start)
        return Auto(self._start) if self._every == "auto" else Grid(float(self._every), self._start)

    def _sample(self, picture: Picture) -> Sample:
        return Sample(picture.time, self._pixels.convert(picture.frame), picture.flags)


def step_of(every: float | str, fps: float | None) -> float | str:
    """Seconds between samples, or "auto". Raises ConfigError."""
    if fps is not None:
        if not 0 < fps < float("inf"):
            raise ConfigError(f"`fps` must be more than 0, not {fps}")
        return 1 / fps
    if every == "auto":
        return every
    if isinstance(every, str) or not 0 < every < float("inf"):
        raise ConfigError(f'`every` must be seconds, more than 0, or "auto", not {every!r}')
    return every


def check_span(start: float, end: float | None) -> None:
    """Raises ConfigError where nothing lies between."""
    if start < 0 or (end is not None and end <= start):
        raise ConfigError(f"`start` must be at least 0 and `end` beyond it, not {start} and {end}")
