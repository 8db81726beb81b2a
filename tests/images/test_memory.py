"""The memory that large photos share."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from declip_rt import ConfigError, ImageError, Scorer
from declip_rt.images import load
from declip_rt.images.memory import Budget
from tests.conftest import encoded, picture


def test_no_more_is_lent_than_there_is() -> None:
    budget, held, most = Budget(100), [0], [0]
    lock = threading.Lock()

    def use(cost: int) -> None:
        with budget.lent(cost, "it"):
            with lock:
                held[0] += cost
                most[0] = max(most[0], held[0])
            time.sleep(0.002)
            with lock:
                held[0] -= cost

    threads = [threading.Thread(target=use, args=(cost,)) for cost in (60, 50, 40, 100, 30) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert held == [0]
    assert 60 <= most[0] <= 100


def test_what_never_fits_is_an_error_at_once_and_takes_nothing() -> None:
    budget = Budget(100 * 2**20)
    with pytest.raises(
        ImageError, match=r"a photo needs 200 MiB of memory to decode, and 100 MiB are allowed: .*--mem"
    ):
        budget.lent(200 * 2**20, "a photo").__enter__()
    with budget.lent(budget.most, "all"):
        pass


def test_an_error_gives_its_memory_back() -> None:
    budget = Budget(10)
    for _ in range(3):
        with pytest.raises(KeyError), budget.lent(10, "it"):
            raise KeyError


def bomb(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, "GIF")
    return buffer.getvalue()


def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "SMALL", 2**20)
    with Scorer(device="cpu", memory=20 * 2**20, workers=3) as scorer:
        found = list(scorer.score_many([encoded(picture()), bomb(3000), encoded(picture())], return_errors=True))
        assert "3000x3000 needs 206 MiB of memory" in str(found[1])
        assert found[0] == found[2]


def test_large_photos_score_as_ever_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [encoded(picture(seed, 400, 300), kind) for seed in range(6) for kind in ("JPEG", "PNG")]
    with Scorer(device="cpu") as scorer:
        plain = list(scorer.score_many(photos))
    monkeypatch.setattr(load, "SMALL", 0)
    with Scorer(device="cpu", memory=3 * 2**20, workers=4, batch=3) as scorer:
        assert list(scorer.score_many(photos)) == plain


def test_a_file_larger_than_the_memory_is_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "x.jpg"
    with huge.open("wb") as file:
        file.truncate(2**40)
    with (
        Scorer(device="cpu") as scorer,
        pytest.raises(ImageError, match=r"a file of 1,099,511,627,776 bytes; .*--memory"),
    ):
        scorer.score(huge)


def test_a_memory_below_one_byte_is_refused() -> None:
    with pytest.raises(ConfigError, match="`memory` must be at least 1 byte, not 0"):
        Scorer(device="cpu", memory=0)


def test_more_than_pillows_limit_of_pixels_is_decoded() -> None:
    wide = Image.new("1", (20_000, 10_000))
    buffer = io.BytesIO()
    wide.save(buffer, "PNG")
    with Scorer(device="cpu") as scorer:
        assert scorer.score(buffer.getvalue()).width == 20_000
