"""Opens videos, and keeps those that strangers made from reaching beyond themselves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeGuard

from declip_rt import extras
from declip_rt.errors import ImageError
from declip_rt.images.stores.archive import ADDRESS

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

Source: TypeAlias = "str | os.PathLike[str] | BinaryIO | InputContainer"
# Those that hold their pictures themselves. Playlists (hls, dash, concat) name further files and addresses.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,mpegvideo,avi,flv,ogg,asf,mxf,nut,rm,dv,gif,apng,"
    "yuv4mpegpipe,ivf,h263,h264,hevc,vvc,m4v,av1,obu,mjpeg"
)
LOCAL = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
BOXES = 1000  # of an MP4 that are looked at, where it cannot be opened
NETWORK = "http,https,httpproxy,tcp,tls,udp,rtp,rtsp,rtmp,rtmps,srt,hls,crypto,data"  # an address names no local file
TIMEOUT = 10.0  # seconds that a network address may be silent


def open_container(source: Source, allow_network: bool = False) -> InputContainer:
    """Opens a path, a network address where it is allowed, or a file object; a container of PyAV is open.

    Raises ImageError and Unavailable.
    """
    if is_container(source):
        return source
    av = extras.load("av")
    name: Any = source if hasattr(source, "read") else os.fspath(source)  # type: ignore[arg-type]
    path = None
    rules: dict[str, Any] = {"options": LOCAL}
    if allow_network:
        rules = {"options": {"protocol_whitelist": NETWORK}, "timeout": TIMEOUT}
    if av.__version__.startswith("18."):  # it is strict with titles that are no UTF-8; later ones are not
        rules["metadata_errors"] = "replace"
    if isinstance(name, str) and ADDRESS.match(name):
        if not allow_network:
            raise ImageError("an address of a network; it is read with `allow_network` alone")
    elif isinstance(name, str):
        _check_file(name)
        path, name = name, f"file:{name}"  # a colon in a file's name would name a protocol otherwise
        if allow_network:
            rules["options"]["protocol_whitelist"] += ",file"
    try:
        return av.open(name, "r", **rules)  # type: ignore[no-any-return]
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise ImageError(reason_of(error, path)) from error


def is_container(source: object) -> TypeGuard[InputContainer]:
    """Whether PyAV has opened it."""
    return hasattr(source, "demux")


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


def blank(container: InputContainer) -> ImageError:
    """What to raise where a container gives no picture."""
    hint = "; perhaps its server allows no seeking (ranges): fetch it first, and give the file"
    return ImageError("no picture of it can be decoded" + hint * bool(ADDRESS.match(container.name or "")))


def reason_of(error: Exception, path: str | None = None) -> str:
    """Why FFmpeg could not read something, in one line."""
    what = getattr(error, "strerror", None) or str(error)
    if isinstance(error, extras.load("av.error").ArgumentError):  # a format that is not on the list
        return (
            "not a video, or of a format that is not read without `allow_network`, such as a playlist; photos are for "
            "declip-rt score"
        )
    if path and _lacks_index(path):
        return (
            "an MP4 or MOV without its index (moov): it was cut off; copy it again, or repair it by its camera's tool"
        )
    return f"not a video, or corrupt or truncated: {what}"


def _lacks_index(path: str) -> bool:
    """Whether a file starts as an MP4 does, and no box of it is the index."""
    with open(path, "rb") as file:
        place, kinds = 0, list[bytes]()
        while len(head := file.read(16)) >= 8 and len(kinds) < BOXES:
            size = int.from_bytes(head[:4], "big")
            kinds.append(head[4:8])
            if size == 1:
                size = int.from_bytes(head[8:], "big")
            if size < 8:  # the last, of any size
                break
            place += size
            file.seek(place)
    return kinds[:1] == [b"ftyp"] and b"moov" not in kinds


def _check_file(path: str) -> None:
    if "\0" in path or not os.path.exists(path):
        raise ImageError("no such file")
    if not os.path.isfile(path):
        raise ImageError("not a regular file")
    if not os.path.getsize(path):
        raise ImageError("the file is empty")
