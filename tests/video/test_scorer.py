"""Videos scored in Python: the same scores as their pictures, pooled, with events; and frames that come one by one."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from declip_rt import ConfigError, ImageError, Scorer
from declip_rt.video.reader import Reader
from declip_rt.video.reference import Reference
from declip_rt.video.scorer import VideoScorer
from declip_rt.video.timeline import pool
from tests.conftest import picture
from tests.video.clips import photo, scenes, write


@pytest.fixture
def videos(scorer: Scorer) -> VideoScorer:
    return VideoScorer(scorer)


def test_each_sample_has_the_score_of_its_picture_bit_for_bit(videos: VideoScorer, clip: Path) -> None:
    score = videos.score(clip)
    with Reader(clip) as reader:
        samples = list(reader.samples())
    assert score.times.tolist() == [sample.time for sample in samples] == [0, 1, 2, 3, 4, 5]
    for i, sample in enumerate(samples):
        alone = videos.scorer.score(sample.rgb)
        assert {name: values[i] for name, values in score.heads.items()} == {n: alone[n] for n in score.heads}
        assert score.percentiles is not None
        assert score.percentiles[i] == alone.percentile


def test_it_has_pooled_figures_facts_and_cuts(videos: VideoScorer, clip: Path) -> None:
    score = videos.score(clip)
    assert list(score.heads)[:2] == ["technical", "aesthetic"]
    assert score.heads.keys() == score.pooled.keys() == {head.name for head in videos.scorer.bundle.heads}
    assert score.duration == pytest.approx(6.0)
    assert score.pooled["sharpness"] == pool(score.times, score.heads["sharpness"], 6.0)
    assert [(event.kind, event.start) for event in score.events] == [("scene", 2.0), ("scene", 4.0)]
    assert (score.facts.width, score.facts.height) == (320, 180)
    assert repr(score) == f"VideoScore(6.0 s, 6 samples, technical {score.pooled['technical'].hysteresis:.3f})"


def test_a_file_object_and_a_container_are_videos_too(videos: VideoScorer, clip: Path) -> None:
    expected = videos.score(clip, every=2.0).heads["technical"]
    assert np.array_equal(videos.score(io.BytesIO(clip.read_bytes()), every=2.0).heads["technical"], expected)
    with av.open(str(clip)) as container:
        assert np.array_equal(videos.score(container, every=2.0).heads["technical"], expected)
        container.seek(0)  # it is still open


def test_the_reader_is_told_how_to_read(videos: VideoScorer, clip: Path) -> None:
    assert videos.score(clip, fps=2.0, start=1.0, end=3.0).times.tolist() == [1.0, 1.48, 2.0, 2.48]
    assert len(videos.score(clip, keyframes=True).times) == len(videos.score(clip).times)
    part = videos.score(clip, start=1.0, end=3.0)
    assert part.pooled["technical"] == pool(part.times, part.heads["technical"], 3.0)


def test_a_picture_counts_from_the_start_alone(videos: VideoScorer, tmp_path: Path) -> None:
    slides = [photo(name, 160, 90) for name in ("coffee", "chelsea", "rocket")]
    write(tmp_path / "slides.mkv", slides, times=[0, 8, 16])
    score = videos.score(tmp_path / "slides.mkv", start=6.0, end=9.0)
    first, second = score.heads["technical"]
    assert (score.times.tolist(), score.duration) == ([0, 8], 3)
    assert score.pooled["technical"].mean == pytest.approx((2 * first + second) / 3)


def test_what_has_no_pictures_is_an_error(videos: VideoScorer, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no picture .*from 60 s on"):
        videos.score(clip, start=60.0)
    (tmp_path / "x.mp4").write_bytes(b"hello")
    with pytest.raises(ImageError, match="not a video"):
        videos.score(tmp_path / "x.mp4")


def test_black_is_told_as_black_alone(videos: VideoScorer, tmp_path: Path) -> None:
    frames = list(scenes(6.0))
    frames[60:85] = [np.zeros_like(frames[0])] * 25
    write(tmp_path / "x.mp4", frames)
    kinds = {event.kind for event in videos.score(tmp_path / "x.mp4").events}
    assert kinds == {"scene", "black"}


def test_pictures_do_not_wait_in_memory_for_their_scores(videos: VideoScorer, tmp_path: Path) -> None:
    write(tmp_path / "x.mp4", scenes(1.5, width=1280, height=720, names=["coffee"]))
    tracemalloc.start()
    assert len(videos.score(tmp_path / "x.mp4", every=0.04).times) == 38
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 16 * 1280 * 720 * 3


def test_the_reference_sets_the_percentiles(scorer: Scorer, clip: Path) -> None:
    base = Reference.of(scorer.bundle)
    high = Reference(base.heads, {name: [0.99 + i / 10_000 for i in range(101)] for name in base.percentiles})
    score = VideoScorer(scorer, high).score(clip)
    assert score.percentiles is not None
    assert set(score.percentiles) == {0.0}
    assert {event.kind for event in score.events} == {"scene", "low"}


def yuv(rgb: np.ndarray, form: str) -> np.ndarray:
    """As PyAV gives it: the planes one below the other."""
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").to_ndarray(format=form)


def test_frames_of_any_order_have_the_scores_of_their_pictures(videos: VideoScorer) -> None:
    rgb = picture(3, 320, 240)
    whole = yuv(rgb, "yuv420p")
    luma, chroma = whole[:240], whole[240:].reshape(2, 120, 160)
    woven = np.concatenate([luma, np.stack([*chroma], -1).reshape(120, 320)])
    given = {
        "rgb24": [rgb],
        "bgr24": [rgb[:, :, ::-1]],
        "yuv420p": [whole, (luma, *chroma)],
        "nv12": [woven, [woven[:240], woven[240:]]],
    }
    scores = {form: [s for _, s in videos.stream(enumerate(frames), pixels=form)] for form, frames in given.items()}
    assert scores["bgr24"] == scores["rgb24"] == [videos.scorer.score(rgb)]
    assert len({*scores["yuv420p"], *scores["nv12"]}) == 1
    assert scores["nv12"][0].technical == pytest.approx(scores["rgb24"][0].technical, abs=0.02)


@pytest.mark.parametrize(
    ("frame", "pixels", "message"),
    [
        (np.zeros((100, 160), np.uint8), "yuv420p", r"rows of luma and chroma"),
        (np.zeros((8, 8, 3), np.float32), "bgr24", "give uint8"),
        (np.zeros((8, 8), np.uint8), "bgr24", r"\(H, W, 3\)"),
        ([], "yuv420p", "0 arrays; yuv420p is its planes"),
        ((), "nv12", "0 arrays; nv12 is its planes"),
        (
            [np.zeros((8, 8), np.uint8), np.zeros((4, 4), np.uint8)],
            "bgr24",
            r"2 arrays; bgr24 is one array \(H, W, 3\)",
        ),
        ([np.zeros((8, 8), np.uint8), np.zeros((4, 4), np.uint8)], "yuv420p", "has 96"),
    ],
)
def test_a_frame_of_another_form_is_an_error(videos: VideoScorer, frame: object, pixels: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        list(videos.stream([(0.0, frame)], pixels=pixels))


def test_a_stream_has_its_choices(videos: VideoScorer) -> None:
    with pytest.raises(ConfigError, match="`pixels` cannot be 'rgb'"):
        videos.stream([], pixels="rgb")
    with pytest.raises(ConfigError, match="`behind` cannot be 'wait'"):
        videos.stream([], behind="wait")  # type: ignore[arg-type]


def test_what_is_no_array_is_given_to_the_scorer_as_it_is(videos: VideoScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnGpu:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

        def __dlpack__(self) -> object:
            raise AssertionError("nobody on the CPU may ask for it")

    frame, given = OnGpu(), []
    monkeypatch.setattr(videos.scorer, "score", given.append)
    list(videos.stream([(0.0, frame)], pixels="nv12", behind="drop"))
    assert given == [frame]


def test_block_reads_no_further_ahead_than_the_lanes_hold_and_drops_nothing(videos: VideoScorer) -> None:
    read: list[float] = []

    def frames() -> Iterator[tuple[float, np.ndarray]]:
        for i in range(200):
            read.append(i / 10)
            yield i / 10, picture(i % 5, 64, 64)

    stream = videos.stream(frames())
    assert next(stream)[0] == 0.0
    time.sleep(0.2)
    assert len(read) <= videos.scorer.engine.batch * (videos.scorer.engine.lanes + 1)
    assert [moment for moment, _ in stream] == [i / 10 for i in range(1, 200)]


def test_drop_lets_a_source_run_on_and_scores_its_newest_frame(videos: VideoScorer) -> None:
    ended = threading.Event()

    def frames() -> Iterator[tuple[float, np.ndarray]]:
        for i in range(100):
            yield float(i), picture(i % 5, 64, 64)
            time.sleep(0.002)
        ended.set()

    stream = videos.stream(frames(), behind="drop")
    first, _ = next(stream)
    assert ended.wait(10), "the source waits for nobody"
    rest = [moment for moment, _ in stream]
    assert first < 100
    assert rest[-1] == 99
    assert len(rest) < 50


def test_av_is_imported_by_who_reads_a_video_alone() -> None:
    code = "import sys, declip_rt; declip_rt.VideoScorer, declip_rt.VideoScore; print('av' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code]).strip() == b"False"
