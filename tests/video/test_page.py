"""The page of videos: safe, whole, without a network."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from declip_rt import Bundle, Scorer, VideoScorer
from declip_rt.video import rows
from declip_rt.video.page import MOMENTS, POINTS, Page
from declip_rt.video.reader import Reader
from declip_rt.video.reference import Reference
from tests.video.clips import scenes, write

ODD = "<img src=x onerror=alert(1)> & {{ 7 }}.mp4"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("page") / ODD
    frames = list(scenes(6.0))
    frames[60:85] = [np.zeros_like(frames[0])] * 25
    write(made, frames, format="mp4")
    return made


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str | None, str] = {}
        self._script: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._script = dict(attrs).get("id") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._script:
            self.texts[self._script] = self.texts.get(self._script, "") + data

    def of(self, name: str, **attributes: str) -> list[dict[str, str | None]]:
        return [found for tag, found in self.found if tag == name and attributes.items() <= found.items()]


def told(path: Path, scorer: Scorer) -> tuple[Any, list[Any], list[Any]]:
    videos = VideoScorer(scorer)
    score = videos.score(path)
    timeline = rows.timeline(str(path), score, rows.timeline_columns(videos.reference), videos.reference)
    summary = rows.summary(str(path), score, rows.summary_columns({}), {})
    return summary, list(timeline), list(rows.events(str(path), score))


def page(folder: Path, bundle: Bundle, *videos: tuple[Any, list[Any], list[Any]]) -> _Tags:
    made = Page(folder / "r.html", Reference.of(bundle), Reader, {"model": "tiny <b>"})
    for video in videos:
        made.write(*video)
    made.close()
    return _Tags((folder / "r.html").read_text("utf-8"))


def test_it_shows_plots_cuts_events_moments_and_figures(
    clip: Path, scorer: Scorer, bundle: Bundle, tmp_path: Path
) -> None:
    video = told(clip, scorer)
    found = page(tmp_path, bundle, video, video)
    assert len(found.of("article")) == 2
    assert len(found.of("svg")) == 2 * len(bundle.heads)
    cuts = sum(event["kind"] == "scene" for event in video[2])
    assert len(found.of("path", **{"class": "cut"})) == 2 * len(bundle.heads) * cuts
    black = found.of("rect", **{"class": "band black"})[0]
    assert (float(black["x"] or 0), float(black["width"] or 0)) == (400.0, pytest.approx(167, abs=2))
    pictures = found.of("img")
    assert pictures
    assert all((picture["src"] or "").startswith("data:image/jpeg;base64,") for picture in pictures)
    assert any((link["href"] or "").endswith(".mp4#t=3.0") for link in found.of("a")), "a link to the moment"
    text = (tmp_path / "r.html").read_text("utf-8")
    assert f"{video[0]['hysteresis']:.3f}" in text
    assert "480" not in text
    assert "320×180" in text


def test_a_video_of_an_odd_name_does_nothing(clip: Path, scorer: Scorer, bundle: Bundle, tmp_path: Path) -> None:
    failed = rows.summary_columns({}).record(path=f"gone {ODD}", error="</td><script>alert(1)</script>")
    found = page(tmp_path, bundle, told(clip, scorer), (failed, [], []))
    assert not any("onerror" in attributes for _, attributes in found.found)
    assert len(found.of("script")) == 2, "its own and the data"
    sources = [value or "" for _, each in found.found for name, value in each.items() if name in ("src", "href")]
    assert not any(source.startswith(("http", "//", "javascript")) for source in sources)
    (policy,) = found.of("meta", **{"http-equiv": "Content-Security-Policy"})
    assert "default-src 'none'" in (policy["content"] or "")


def test_the_plot_is_that_of_the_scores(clip: Path, scorer: Scorer, bundle: Bundle, tmp_path: Path) -> None:
    summary, timeline, events = told(clip, scorer)
    found = page(tmp_path, bundle, (summary, timeline, events))
    line = found.of("path", **{"class": "trace"})[0]["d"] or ""
    heights = [float(each) for each in re.findall(r"V([\d.]+)H", line)]
    assert heights == pytest.approx([100 - 100 * row["technical"] for row in timeline], abs=0.01)
    assert [float(each) for each in re.findall(r"H([\d.]+)", line)] == pytest.approx(
        [1000 * second / 6 for second in range(1, 7)], abs=0.01
    )
    data = json.loads(found.texts["data-0"])
    assert data["times"] == [row["time"] for row in timeline]
    assert data["heads"]["sharpness"] == pytest.approx([row["sharpness"] for row in timeline], abs=6e-4)


def test_a_plot_begins_where_the_video_was_read_from(bundle: Bundle, tmp_path: Path) -> None:
    heads = {head.name: 0.7 for head in bundle.heads}
    summary = dict.fromkeys(rows.summary_columns({}).types) | {"path": "gone.mp4", "duration": 10.0, "samples": 2}
    made = Page(tmp_path / "r.html", Reference.of(bundle), Reader, {}, 5.0)
    made.write(summary, [{"time": 0.0, **heads}, {"time": 10.0, **heads}], [])
    made.close()
    data = json.loads(_Tags((tmp_path / "r.html").read_text("utf-8")).texts["data-0"])
    assert (data["begin"], data["end"], data["times"]) == (5, 15, [5, 10])


def test_of_a_long_video_each_part_shows_its_worst(bundle: Bundle, tmp_path: Path) -> None:
    count = 4 * POINTS
    heads = {head.name: 0.7 for head in bundle.heads}
    timeline = [{"time": float(i), **heads} for i in range(count)]
    timeline[4321]["technical"] = 0.11
    facts = dict.fromkeys(rows.summary_columns({}).types)
    summary = facts | {"path": "gone.mp4", "duration": float(count), "samples": count}
    events = [
        {"start": float(i), "end": i + 1.0, "kind": "low", "detail": "x", "path": "gone.mp4"} for i in range(0, 500, 10)
    ]
    found = page(tmp_path, bundle, (summary, timeline, events))
    data = json.loads(found.texts["data-0"])
    assert len(data["times"]) == POINTS
    assert min(data["heads"]["technical"]) == 0.11
    assert len(found.of("a", title="low: x")) == MOMENTS
    assert "no picture" in (tmp_path / "r.html").read_text(), "the video is gone"


def test_an_address_is_linked_as_it_is(clip: Path, scorer: Scorer, bundle: Bundle, tmp_path: Path) -> None:
    summary, samples, events = told(clip, scorer)
    address = "https://127.0.0.1:9/a.mp4?b=1&c=2"
    found = page(tmp_path, bundle, (summary | {"path": address}, samples, events))
    links = [each["href"] or "" for each in found.of("a")]
    assert links
    assert all(each.startswith(f"{address}#t=") for each in links)
