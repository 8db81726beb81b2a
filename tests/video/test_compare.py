"""Encodes beside their source: as many clips as it takes, made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from declip_rt import ImageError, Scorer
from declip_rt.video.compare import Comparer, Comparison
from declip_rt.video.fidelity import MOST, average
from declip_rt.video.reader import Reader
from declip_rt.video.verdict import DISAGREE, SAME, WORSE, judge
from tests.video import clips

SECONDS, FPS = 4, 25.0
PICTURES = [*clips.scenes(SECONDS, FPS)]
CRFS = (20, 30, 40, 50)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("encodes")
    clips.write(made / "source.mp4", PICTURES, crf=4)
    return made


@pytest.fixture(scope="module")
def comparer(folder: Path, scorer: Scorer) -> Comparer:
    return Comparer(scorer, folder / "source.mp4")


@pytest.fixture(scope="module")
def ladder(folder: Path, comparer: Comparer) -> list[Comparison]:
    paths = [clips.write(folder / f"crf{crf}.mp4", PICTURES, crf=crf) for crf in CRFS]
    return [comparer.compare(path) for path in paths]  # type: ignore[arg-type]


def test_an_identical_encode_makes_no_difference(folder: Path, comparer: Comparer) -> None:
    found = comparer.compare(folder / "source.mp4")
    assert (found.offset.seconds, average(found.xpsnr), found.ssim.min()) == (0, MOST, 1)
    assert all(not change.any() for change in found.deltas.values())
    assert judge(found) == SAME
    assert found.seconds_by_change() == found.seconds_by_xpsnr() == []


def test_xpsnr_ssim_and_the_model_fall_with_the_crf(ladder: list[Comparison]) -> None:
    xpsnr = [average(each.xpsnr) for each in ladder]
    assert xpsnr == sorted(xpsnr, reverse=True)
    assert xpsnr[0] > 33 > 28 > xpsnr[-1]
    ssim = [each.ssim.mean() for each in ladder]
    assert ssim == sorted(ssim, reverse=True)
    assert judge(ladder[-1], ladder[:-1]) == WORSE
    change = [each.deltas["technical"].mean() for each in ladder]
    assert change[0] > change[-1] + 0.05


def test_scores_are_those_of_the_reader(folder: Path, comparer: Comparer, scorer: Scorer) -> None:
    found = comparer.compare(clips.write(folder / "again.mp4", PICTURES, crf=30))  # type: ignore[arg-type]
    for path, values in ((folder / "source.mp4", found.source), (folder / "again.mp4", found.encode)):
        with Reader(path) as reader:
            samples = [*reader.samples()]
        assert [each.time for each in samples] == [*found.times]
        assert [scorer.score(each.rgb).technical for each in samples] == [*values["technical"]]


@pytest.mark.parametrize("late", [-1.2, 0.6])
def test_an_offset_is_found_and_undone(folder: Path, comparer: Comparer, ladder: list[Comparison], late: float) -> None:
    """Against the same encode that lies right: XPSNR falls by decibels where pictures are one apart."""
    shift = round(abs(late) * FPS)
    shown = PICTURES[shift:] if late < 0 else [*[PICTURES[0]] * shift, *PICTURES]
    found = comparer.compare(clips.write(folder / "late.mp4", shown, crf=30))  # type: ignore[arg-type]
    assert found.offset.seconds == pytest.approx(late, abs=0.001)
    assert average(found.xpsnr) > average(ladder[1].xpsnr) - 1
    assert found.moments[0] == pytest.approx(max(0, -late), abs=0.001)
    assert found.deltas["technical"].mean() == pytest.approx(ladder[1].deltas["technical"].mean(), abs=0.05)


def test_a_smaller_encode_is_scored_as_it_is_seen(folder: Path, comparer: Comparer, scorer: Scorer) -> None:
    small = [np.asarray(Image.fromarray(each).resize((160, 90), Image.Resampling.BICUBIC)) for each in PICTURES]
    found = comparer.compare(clips.write(folder / "small.mp4", small, crf=18))  # type: ignore[arg-type]
    with Reader(folder / "small.mp4") as reader:
        seen = [Image.fromarray(each.rgb).resize((320, 180), Image.Resampling.BICUBIC) for each in reader.samples()]
    assert [scorer.score(each).technical for each in seen] == [*found.encode["technical"]]
    assert found.deltas["sharpness"].mean() < -0.05
    assert judge(found) == WORSE


@pytest.mark.parametrize("count", [1, 9])
def test_a_clip_of_less_than_a_step_has_a_moment(folder: Path, comparer: Comparer, count: int) -> None:
    found = comparer.compare(clips.write(folder / "short.mp4", PICTURES[:count], crf=18))  # type: ignore[arg-type]
    assert ([*found.times], len(found.moments), found.end) == ([0], count, pytest.approx(count / FPS))


def test_the_seconds_that_are_worst_are_named(folder: Path, comparer: Comparer) -> None:
    blurred = [
        np.asarray(Image.fromarray(each).resize((20, 11)).resize((320, 180))) if FPS <= i < 2 * FPS else each
        for i, each in enumerate(PICTURES)
    ]
    found = comparer.compare(clips.write(folder / "blurred.mp4", blurred, crf=12))  # type: ignore[arg-type]
    assert found.seconds_by_change()[0] == found.seconds_by_xpsnr()[0] == 1


def test_an_encode_that_looks_sharper_than_its_source_is_a_disagreement(folder: Path, scorer: Scorer) -> None:
    soft = [np.asarray(Image.fromarray(each).resize((96, 54)).resize((320, 180))) for each in PICTURES]
    comparer = Comparer(scorer, clips.write(folder / "soft.mp4", soft, crf=12))  # type: ignore[arg-type]
    assert judge(comparer.compare(folder / "source.mp4")) == DISAGREE


def test_high_dynamic_range_is_not_held_against_standard(folder: Path, comparer: Comparer) -> None:
    tagged = clips.write(folder / "pq.mp4", PICTURES, color_trc=16)
    with pytest.raises(ImageError, match="it is PQ and its source standard dynamic range: bring both into one"):
        comparer.compare(tagged)  # type: ignore[arg-type]


def test_a_matrix_that_ffmpeg_lacks_is_an_error(folder: Path, comparer: Comparer, scorer: Scorer) -> None:
    odd = clips.write(folder / "odd.mp4", PICTURES[:9], colorspace=8)
    with pytest.raises(ImageError, match="color matrix 8"):
        comparer.compare(odd)  # type: ignore[arg-type]
    assert Comparer(scorer, folder / "source.mp4", color="bt601").compare(odd).ssim.min() > 0.9  # type: ignore[arg-type]


def test_what_is_no_encode_of_it_says_so(folder: Path, comparer: Comparer) -> None:
    (folder / "text.mp4").write_text("no video")
    with pytest.raises(ImageError, match="not a video"):
        comparer.compare(folder / "text.mp4")
    other = clips.write(folder / "other.mp4", [clips.photo("rocket", 320, 180)] * 50)
    with pytest.raises(ImageError, match="does not show what its source shows, with no offset up to 2 s"):
        comparer.compare(other)  # type: ignore[arg-type]
