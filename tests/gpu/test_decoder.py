"""JPEGs decoded on the GPU are those of the CPU, but for rounding."""

from __future__ import annotations

import numpy as np
import pytest

from declip_rt import Bundle, ImageError, Scorer
from declip_rt.errors import Unavailable
from tests.conftest import encoded, picture


@pytest.fixture
def scorer(device: str, bundle: Bundle) -> Scorer:
    try:
        return Scorer(bundle.path, device, decoder="gpu")
    except Unavailable as error:
        pytest.skip(f"NOT RUN, {device}: {error}")


def test_scores_are_those_of_the_cpus_decoder(scorer: Scorer, device: str, bundle: Bundle) -> None:
    photos = [encoded(picture(i, 640, 480), quality=90) for i in range(8)]
    with Scorer(bundle.path, device) as other, scorer:
        pairs = zip(scorer.score_many(photos), other.score_many(photos), strict=True)
        assert max(abs(ours.technical - theirs.technical) for ours, theirs in pairs) < 0.02


def test_what_it_cannot_decode_goes_to_the_cpu(scorer: Scorer) -> None:
    png = encoded(picture(), "PNG")
    cut = encoded(picture())[:2000]
    with scorer:
        found = list(scorer.score_many([png, cut, np.zeros((9, 9, 3), np.uint8)], return_errors=True))
    assert [isinstance(each, ImageError) for each in found] == [False, True, False]
