"""Six clips at five CRFs, and at known offsets: what docs/video.md claims."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from declip_rt import Scorer
from declip_rt.video.compare import Comparer
from declip_rt.video.fidelity import average
from declip_rt.video.timeline import pool
from declip_rt.video.verdict import SAME, judge
from tests.video import clips

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket", "camera")
CLIPS = [*((name,) for name in PHOTOS), PHOTOS[:4]]
CRFS = (18, 25, 32, 39, 46)
OFFSETS = (-1.92, -1.0, -0.48, -0.04, 0.0, 0.04, 0.36, 1.0, 1.8)


@pytest.mark.slow
@pytest.mark.parametrize("names", CLIPS, ids="+".join)
def test_xpsnr_and_hysteresis_fall_with_the_crf(names: tuple[str, ...], scorer: Scorer, tmp_path: Path) -> None:
    pictures = [*clips.scenes(6, 25, 640, 360, names)]
    comparer = Comparer(scorer, clips.write(tmp_path / "source.mp4", pictures, crf=6))  # type: ignore[arg-type]
    found = [comparer.compare(clips.write(tmp_path / f"{crf}.mp4", pictures, crf=crf)) for crf in CRFS]  # type: ignore[arg-type]
    xpsnr = [average(each.xpsnr) for each in found]
    hysteresis = [pool(each.times, each.encode["technical"], each.end).hysteresis for each in found]
    assert spearmanr(CRFS, xpsnr)[0] == pytest.approx(-1)
    assert spearmanr(CRFS, hysteresis)[0] <= -0.9
    assert judge(comparer.compare(tmp_path / "source.mp4")) == SAME


@pytest.mark.slow
@pytest.mark.parametrize("crf", [23, 38])
@pytest.mark.parametrize("names", CLIPS, ids="+".join)
def test_each_offset_is_found_to_the_picture(names: tuple[str, ...], crf: int, scorer: Scorer, tmp_path: Path) -> None:
    """Slow pans of one photo are the hardest; an encode that begins earlier shows another photo first."""
    pictures = [*clips.scenes(6, 25, 320, 180, names)]
    comparer = Comparer(scorer, clips.write(tmp_path / "source.mp4", pictures, crf=6), every=3)  # type: ignore[arg-type]
    other = clips.photo("coffee" if "coffee" not in names else "camera", 320, 180)
    found = []
    for offset in OFFSETS:
        count = round(abs(offset) * 25)
        shown = pictures[count:] if offset < 0 else [*[other] * count, *pictures]
        encode = clips.write(tmp_path / "encode.mp4", shown, crf=crf)
        found.append(comparer.compare(encode).offset.seconds)  # type: ignore[arg-type]
    assert np.abs(np.array(found) - OFFSETS).max() < 0.021
