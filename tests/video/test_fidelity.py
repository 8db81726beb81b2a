"""XPSNR and SSIM are FFmpeg's, whatever the two pictures' sizes and formats are."""

from __future__ import annotations

import re

import av
import av.logging
import numpy as np
import pytest

from declip_rt.video.fidelity import MOST, Meter, average
from tests.video.clips import panned, photo

WIDTH, HEIGHT = 320, 180
SOURCE = [*panned(photo("coffee", 400, HEIGHT), WIDTH, HEIGHT, 8)]
RNG = np.random.default_rng(0)
NOISY = [np.clip(each + RNG.normal(0, 9, each.shape), 0, 255).astype(np.uint8) for each in SOURCE]


def frames(pictures: list[np.ndarray], pix: str = "yuv420p", **size: int) -> list[av.VideoFrame]:
    made = [av.VideoFrame.from_ndarray(each, format="rgb24").reformat(format=pix, **size) for each in pictures]
    for each in made:
        each.colorspace, each.color_range = 6, 1
    return made


def measured(source: list[av.VideoFrame], encode: list[av.VideoFrame]) -> tuple[float, float]:
    meter = Meter()
    found = [meter.measure(*pair) for pair in zip(source, encode, strict=True)]
    return average(np.array([each.xpsnr for each in found])), float(np.mean([each.ssim for each in found]))


def test_what_is_the_same_has_the_most() -> None:
    assert measured(frames(SOURCE), frames(SOURCE)) == (MOST, 1)


def test_the_average_is_that_of_ffmpegs_own_log() -> None:
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture(local=False) as told:
            graph = av.filter.Graph()
            inputs = [
                graph.add_buffer(width=WIDTH, height=HEIGHT, format=frames(SOURCE)[0].format, time_base=1) for _ in "ab"
            ]
            xpsnr, sink = graph.add("xpsnr"), graph.add("buffersink")
            inputs[0].link_to(xpsnr, 0, 0)
            inputs[1].link_to(xpsnr, 0, 1)
            xpsnr.link_to(sink)
            graph.configure()
            for pts, pair in enumerate(zip(frames(SOURCE), frames(NOISY), strict=True)):
                for entry, frame in zip(inputs, pair, strict=True):
                    frame.pts = pts
                    entry.push(frame)
                sink.pull()
            del graph, inputs, xpsnr, sink
    finally:
        av.logging.set_level(None)
    (wanted,) = re.findall(r"minimum: ([\d.]+)", " ".join(line[2] for line in told))
    assert measured(frames(SOURCE), frames(NOISY))[0] == pytest.approx(float(wanted), abs=0.001)


def test_more_noise_is_less() -> None:
    noisier = [np.clip(each + RNG.normal(0, 25, each.shape), 0, 255).astype(np.uint8) for each in SOURCE]
    one, other = (measured(frames(SOURCE), frames(each)) for each in (NOISY, noisier))
    assert one[0] > other[0] + 3
    assert one[1] > other[1] + 0.05


@pytest.mark.parametrize("pix", ["yuv420p10le", "yuv444p", "rgb24"])
def test_formats_may_differ(pix: str) -> None:
    for pair in ((frames(SOURCE), frames(SOURCE, pix)), (frames(SOURCE, pix), frames(SOURCE))):
        xpsnr, ssim = measured(*pair)
        assert xpsnr > 40, "finer chroma is a difference, and the only one"
        assert ssim > 0.99


def test_a_gray_encode_lacks_the_color() -> None:
    luma, *chroma = Meter().measure(frames(SOURCE)[0], frames(SOURCE, "gray")[0]).xpsnr
    assert luma > 45 > 35 > max(chroma)


def test_an_encode_is_brought_to_its_sources_size() -> None:
    small = measured(frames(SOURCE), frames(SOURCE, width=WIDTH // 2, height=HEIGHT // 2))
    assert 20 < small[0] < 40
    assert 0.7 < small[1] < 0.99


def test_another_range_or_matrix_is_no_difference() -> None:
    rgb = [av.VideoFrame.from_ndarray(each, format="rgb24") for each in SOURCE]
    full = [each.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="JPEG") for each in rgb]
    for each in full:
        each.colorspace, each.color_range = 1, 2
    right = measured(frames(SOURCE), full)[0]
    assert right > 38, "both are rounded to 8 bits"
    for matrix, color_range in ((1, 1), (6, 2), (6, 1)):
        for each in full:
            each.colorspace, each.color_range = matrix, color_range
        assert measured(frames(SOURCE), full)[0] < right - 10, "it is seen where it is not told"


def test_pictures_that_change_their_size_midway_are_measured_on() -> None:
    mixed = [*frames(SOURCE[:4]), *frames(SOURCE[4:], width=WIDTH // 2, height=HEIGHT // 2)]
    meter = Meter()
    found = [meter.measure(*pair).xpsnr[0] for pair in zip(frames(SOURCE), mixed, strict=True)]
    assert min(found[:4]) == MOST > 40 > max(found[5:])
