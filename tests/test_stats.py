"""The clock of a run adds up what its threads did."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from declip_rt import Scorer
from declip_rt.stats import WAITS, Stats, marked
from tests.conftest import Run, encoded, picture


def test_times_of_all_threads_are_added_up() -> None:
    stats = Stats()

    def work() -> None:
        with stats.timed("decode"):
            time.sleep(0.05)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.15 <= stats.seconds["decode"] < 1
    assert stats.seconds["views"] == 0


def test_time_counts_where_the_work_fails_too() -> None:
    stats = Stats()

    def fail() -> None:
        with stats.timed("read"):
            time.sleep(0.02)
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()
    assert stats.seconds["read"] >= 0.02


def test_busy_is_a_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, process = [100.0], [7.0]
    monkeypatch.setattr(time, "perf_counter", lambda: wall[0])
    monkeypatch.setattr(time, "process_time", lambda: process[0])
    monkeypatch.setattr("declip_rt.stats.cores", lambda: 4)
    stats = Stats()
    assert stats.busy == 0, "no time has passed"
    wall[0] += 10
    process[0] += 30
    assert stats.busy == 0.75
    assert "75% of 4 cores busy" in stats.summary()


def test_score_prints_it_and_keeps_it_in_the_report(declip: Run, folder: object, tmp_path: object) -> None:
    page = tmp_path / "report.html"  # type: ignore[operator]
    done = declip("score", folder, "--stats", "--html", page)
    line = next(line for line in done.stderr.decode().splitlines() if line.startswith("read "))
    assert all(word in line for word in ("decode", "views", "compute", "waited", "cores busy"))
    assert "cores busy" in page.read_text()


@pytest.fixture
def ranges(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """The domains and names of the ranges that a stand-in for nvtx was told of, as they ended."""
    found: list[tuple[str, str]] = []

    class Annotate:
        """As nvtx's, it may be entered again, and by several threads."""

        def __init__(self, message: str, domain: str) -> None:
            self.range = domain, message

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None:
            found.append(self.range)

    monkeypatch.setitem(sys.modules, "nvtx", SimpleNamespace(annotate=Annotate))  # type: ignore[arg-type]
    marked.cache_clear()
    yield found
    marked.cache_clear()


def test_stages_waits_and_launches_are_ranges_in_nsight_systems(ranges: list[tuple[str, str]]) -> None:
    with Scorer(device="cpu", batch=1) as scorer:
        scorer.score(encoded(picture()))
    assert {domain for domain, _ in ranges} == {"declip-rt"}
    assert {name for _, name in ranges} == {"decode", "views", "compute", "launch", *WAITS}


def test_without_nvtx_a_range_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvtx", None)  # type: ignore[arg-type]
    marked.cache_clear()
    with marked("decode") as entered:
        assert entered is None
    marked.cache_clear()
