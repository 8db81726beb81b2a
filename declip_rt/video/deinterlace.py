"""Interlaced pictures, made whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declip_rt import extras
from declip_rt.video.pixels import Kind, build_graph, conversion

if TYPE_CHECKING:
    from av.filter.graph import Graph
    from av.video.frame import VideoFrame


class Deinterlacer:
    """FFmpeg's bwdif: a picture for each, of those alone that say that they are interlaced."""

    def __init__(self) -> None:
        self._errors = extras.load("av.error")
        self._graph: Graph | None = None
        self._kind: Kind | None = None

    def push(self, frames: list[VideoFrame]) -> list[VideoFrame]:
        """Those that are done; the latest waits for the next. Raises ImageError."""
        done = []
        for frame in frames:
            with conversion(frame):
                done += self._push(frame)
        return done

    def flush(self) -> list[VideoFrame]:
        """What is left at the end of the stream, or of pictures of a size."""
        if self._graph is None:
            return []
        self._graph.vpush(None)
        left, self._graph, self._kind = self._pull(), None, None
        return left

    def _push(self, frame: VideoFrame) -> list[VideoFrame]:
        kind = Kind.of(frame)
        done: list[VideoFrame] = []
        if kind != self._kind:
            done = self.flush()
            self._kind, self._graph = kind, build_graph(kind, ("bwdif", "mode=send_frame:deint=interlaced"))
        assert self._graph is not None
        self._graph.vpush(frame)
        return done + self._pull()

    def _pull(self) -> list[VideoFrame]:
        assert self._graph is not None
        pulled = []
        while True:
            try:
                pulled.append(self._graph.vpull())
            except (self._errors.BlockingIOError, self._errors.EOFError):
                return pulled
