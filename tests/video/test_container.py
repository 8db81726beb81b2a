"""What is opened, and what strangers' files reach."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from declip_rt import extras
from declip_rt.errors import ImageError, Unavailable
from declip_rt.video.reader import Reader
from tests.video import clips


class Site(ThreadingHTTPServer):
    """Serves a video at any address, and notes what was asked for."""

    def __init__(self, video: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.video, self.asked = video, list[str]()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/secret.ts"


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.video)

    def log_message(self, *_: object) -> None:
        """Stays silent."""


@pytest.fixture
def site(stream: Path) -> Iterator[Site]:
    with Site(stream.read_bytes()) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


class Named(io.BytesIO):
    """An upload, whose name its sender chose."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def playlists(address: str) -> dict[str, str]:
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{address}'\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4">'
        f'<Representation id="1" bandwidth="1"><BaseURL>{address}</BaseURL></Representation></AdaptationSet>'
        "</Period></MPD>",
    }


@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "ts", "mpd"])
@pytest.mark.parametrize("kind", ["hls", "concat", "dash"])
def test_a_playlist_fetches_nothing(site: Site, stream: Path, tmp_path: Path, kind: str, suffix: str) -> None:
    for address in (site.address, stream.as_uri(), str(stream)):
        text = playlists(address)[kind].encode()
        path = tmp_path / f"clip.{suffix}"
        path.write_bytes(text)
        for source in (path, str(path), path.open("rb"), io.BytesIO(text), Named(text, path.name)):
            with pytest.raises(ImageError, match="not a video"):
                Reader(source)
    assert site.asked == []


def test_pyav_alone_would_have_fetched_it(site: Site) -> None:
    with av.open(Named(playlists(site.address)["hls"].encode(), "clip.m3u8")):
        assert site.asked == ["/secret.ts"]


def test_addresses_are_read_where_they_are_allowed(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="`allow_network`"):
        Reader(site.address)
    assert site.asked == []
    path = tmp_path / "clip.m3u8"
    path.write_text(playlists(site.address)["hls"])
    for source in (site.address, path):
        with Reader(source, allow_network=True) as reader:
            assert [each.time for each in reader.samples()] == [0, 1]


def test_an_index_at_the_end_needs_a_server_that_can_seek(site: Site, clip: Path) -> None:
    site.video = clip.read_bytes()
    assert site.video.index(b"mdat") < site.video.index(b"moov")
    with pytest.raises(ImageError, match="its server allows no seeking"):
        Reader(site.address.replace(".ts", ".mp4"), allow_network=True)


def test_an_address_names_no_local_file(site: Site, stream: Path) -> None:
    site.video = playlists(stream.as_uri())["hls"].encode()
    with pytest.raises(ImageError):
        Reader(site.address.replace(".ts", ".m3u8"), allow_network=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello " * 200, "not a video"),
        (clips.PHOTOS.joinpath("coffee.jpg").read_bytes(), "not a video"),
    ],
    ids=["empty", "text", "photo"],
)
def test_files_that_are_no_video(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        Reader(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        Reader(tmp_path / "none.mp4")
    with pytest.raises(ImageError, match="not a regular file"):
        Reader(tmp_path)
    with pytest.raises(ImageError, match="no such file"):
        Reader("concat:a.mp4|b.mp4")


def test_an_mp4_that_lost_its_index_says_so(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(clip.read_bytes()[:40_000])
    with pytest.raises(ImageError, match=r"without its index \(moov\)"):
        Reader(path)


def test_a_colon_in_a_name_is_no_protocol(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "12:30.mp4").write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    with Reader("12:30.mp4") as reader:
        assert reader.facts.codec == "h264"


def test_a_title_that_is_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "title.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Xitle of an old file"
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 64
        container.mux([*stream.encode(av.VideoFrame(64, 64)), *stream.encode()])
    path.write_bytes(path.read_bytes().replace(b"Xitle", b"\xfcitle"))
    with Reader(path) as reader:
        assert reader.facts.codec == "mpeg4"


def test_sound_and_covers_are_no_video(tmp_path: Path) -> None:
    for name, reason in (("sound.m4a", "no video stream; it has audio"), ("cover.mp4", "an attached picture")):
        with av.open(str(tmp_path / name), "w") as container:
            sound = container.add_stream("aac", rate=48_000)
            if name == "cover.mp4":
                cover = container.add_stream("png")
                cover.width, cover.height, cover.pix_fmt = 64, 64, "rgb24"
                cover.disposition = av.stream.Disposition.attached_pic
                frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
                frame.pts = 0
                container.mux([*cover.encode(frame), *cover.encode()])
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate = 48_000
            container.mux([*sound.encode(silence), *sound.encode()])
        with pytest.raises(ImageError, match=reason):
            Reader(tmp_path / name)


def test_without_pyav_the_extra_is_named(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.sys.modules, "av", None)
    with pytest.raises(Unavailable, match=r'pip install "declip-rt\[video\]"'):
        Reader(clip)
