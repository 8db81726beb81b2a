"""The HTML report: self-contained, safe, and honest about what it leaves out."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from declip_rt import Bundle, Prompts
from declip_rt.output.html import HtmlPage
from declip_rt.output.records import Columns, Record, failed
from tests.conftest import encoded, picture


@pytest.fixture
def columns(bundle: Bundle) -> Columns:
    return Columns.of(bundle)


def record(columns: Columns, bundle: Bundle, path: str, technical: float) -> Record:
    return columns.record(
        **{head.name: 0.5 for head in bundle.heads} | {"path": path, "technical": technical, "percentile": 12.0},
        width=320,
        height=260,
    )


def page(path: Path, bundle: Bundle, records: list[Record], limit: int = 1000) -> str:
    report = HtmlPage(path / "report.html", bundle, device="cpu", limit=limit)
    for row in records:
        report.write(row)
    report.close()
    return (path / "report.html").read_text()


def shown(text: str) -> list[str]:
    return re.findall(r'<p class="name">(.*?)</p>', text)


def test_cards_histograms_and_medians(bundle: Bundle, columns: Columns, folder: Path) -> None:
    rows = [record(columns, bundle, str(folder / f"{name}.jpg"), i / 10) for i, name in enumerate("abcdef")]
    text = page(folder, bundle, rows)
    assert shown(text) == [f"{name}.jpg" for name in "abcdef"]
    assert text.count("data:image/jpeg;base64,") == 6
    assert text.count("<svg") == 2
    assert "the line is the median, 0.250" in text
    assert "Failures" not in text
    options = dict(re.findall(r'<option value="([^"]*)">([^<]*)</option>', text))
    assert {head.name.replace("_", " ") for head in bundle.heads} <= set(options.values())
    assert all(text.count(f" data-{key}=") >= 6 for key in options)


def test_prompts_are_shown_and_sorted_by(bundle: Bundle, tmp_path: Path) -> None:
    names = ["calm scene", "<b>"]
    columns = Columns.of(bundle, [Prompts(name, ("a",), ("b",)) for name in names])
    report = HtmlPage(tmp_path / "report.html", bundle, device="cpu", prompts=names)
    report.write(record(columns, bundle, "a.jpg", 0.5) | {"calm scene": 0.75, "<b>": 0.125})
    report.close()
    text = (tmp_path / "report.html").read_text()
    assert "<span>calm scene 0.750</span><span>&lt;b&gt; 0.125</span>" in text
    options = dict(re.findall(r'<option value="([^"]*)">([^<]*)</option>', text))
    for name, value in (("calm scene", "0.750000"), ("&lt;b&gt;", "0.125000")):
        (key,) = (key for key, words in options.items() if words == name)
        assert f'data-{key}="{value}"' in text


def test_it_needs_no_network(bundle: Bundle, columns: Columns, folder: Path) -> None:
    text = page(folder, bundle, [record(columns, bundle, str(folder / "a.jpg"), 0.5)])
    assert not re.search(r"https?://|@import|<link|<script src", text)
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)', text))
    assert "default-src 'none'" in text


def test_hostile_names_stay_text(bundle: Bundle, columns: Columns, tmp_path: Path) -> None:
    name = '<script>alert("1")</script>\x07\udce9.jpg'.replace("/", "|")
    (tmp_path / name).write_bytes(encoded(picture()))
    rows = [record(columns, bundle, str(tmp_path / name), 0.5), failed(columns, name, "<b>bad</b>")]
    text = page(tmp_path, bundle, rows)
    assert text.count("<script>") == 1
    assert "<b>bad" not in text
    assert "&lt;script&gt;alert(&quot;1&quot;)" in text
    assert "\x07" not in text
    link = re.search(r'href="([^"]*)"', text)
    assert link
    assert os.fsencode(name) == unquote_to_bytes(link[1])


def test_more_than_the_limit_shows_both_ends_and_says_so(bundle: Bundle, columns: Columns, tmp_path: Path) -> None:
    rows = [record(columns, bundle, f"{i}.jpg", (i * 37 % 100) / 100) for i in range(100)]
    text = page(tmp_path, bundle, rows, limit=6)
    assert "the 3 lowest and 3 highest of 100 photos" in text
    values = sorted(float(value) for value in re.findall(r'data-technical="([\d.]+)"', text))
    assert values == [0, 0.01, 0.02, 0.97, 0.98, 0.99]


def test_failures_are_listed_and_counted(bundle: Bundle, columns: Columns, tmp_path: Path) -> None:
    text = page(tmp_path, bundle, [failed(columns, f"{i}.jpg", "the file is empty") for i in range(1003)])
    assert text.count("<td>the file is empty</td>") == 1000
    assert "and 3 more" in text
    assert "<dd>1,003</dd>" in text


def test_a_photo_that_vanished_keeps_its_card(bundle: Bundle, columns: Columns, tmp_path: Path) -> None:
    text = page(tmp_path, bundle, [record(columns, bundle, str(tmp_path / "gone.jpg"), 0.5)])
    assert shown(text) == ["gone.jpg"]
    assert "no longer readable" in text


def test_a_run_without_scores_has_a_page(bundle: Bundle, tmp_path: Path) -> None:
    text = page(tmp_path, bundle, [])
    assert "0 photos" in text
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
