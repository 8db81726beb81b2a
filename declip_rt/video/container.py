"""Opens videos, and keeps those that strangers made from reaching beyond themselves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

from declip_rt import extras
from declip_rt.errors import ImageError
from declip_rt.images.sources import ADDRESS

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Those that hold their pictures themselves. Playlists (hls, dash, concat) name further files and addresses.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,mpegvideo,avi,flv,ogg,asf,mxf,nut,rm,dv,gif,apng,"
    "yuv4mpegpipe,ivf,h263,h264,hevc,vvc,m4v,av1,obu,mjpeg"
)
LOCAL = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
TIMEOUT = 10.0  # seconds that a network address may be silent


def open_container(source: str | os.PathLike[str] | BinaryIO, allow_network: bool = False) -> InputContainer:
    """Opens a path, a network address where it is allowed, or a file object. Raises ImageError and Unavailable."""
    av = extras.load("av")
    name = source if hasattr(source, "read") else os.fspath(source)
    rules: dict[str, Any] = {"options": LOCAL}
    if allow_network:
        rules = {"timeout": TIMEOUT}
    elif isinstance(name, str):
        if ADDRESS.match(name):
            raise ImageError("an address of a network; it is read with `allow_network` alone")
        _check_file(name)
        name = f"file:{name}"  # a colon in a file's name would name a protocol otherwise
    try:
        return av.open(name, "r", metadata_errors="replace", **rules)  # type: ignore[no-any-return]
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise ImageError(reason_of(error)) from error


def pick_stream(container: InputContainer) -> VideoStream:
    """The first video stream that is no attached picture, such as an album's cover. Raises ImageError."""
    attached = extras.load("av.stream").Disposition.attached_pic
    videos = [each for each in container.streams.video if not each.disposition & attached]
    if not videos:
        covers = " but an attached picture" * bool(container.streams.video)
        others = sorted({each.type for each in container.streams} - {"video"})
        raise ImageError(f"no video stream{covers}; it has {', '.join(others) or 'no stream'}")
    if videos[0].codec_context is None:
        raise ImageError("the video's codec is not known to this FFmpeg")
    return videos[0]


def reason_of(error: Exception) -> str:
    """Why FFmpeg could not read something, in one line."""
    log = getattr(error, "log", None)
    said = log[2].strip() if isinstance(log, tuple) and len(log) == 3 else ""
    if "whitelist" in said:
        return f"not a video that is read without `allow_network`: {said}"
    what = getattr(error, "strerror", None) or str(error)
    return f"not a video, or corrupt or truncated: {what}{f' ({said})' if said else ''}"


def _check_file(path: str) -> None:
    if "\0" in path or not os.path.exists(path):
        raise ImageError("no such file")
    if not os.path.isfile(path):
        raise ImageError("not a regular file")
    if not os.path.getsize(path):
        raise ImageError("the file is empty")
