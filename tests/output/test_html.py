"""The HTML report: without a network, safe, and with all photos."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
import pytest
from PIL import Image

from declip_rt import Bundle, ConfigError, Prompts
from declip_rt.output import html, thumbnails
from declip_rt.output.html import HtmlPage
from declip_rt.output.records import Columns, Record, failed
from tests.conftest import encoded, picture


@pytest.fixture
def columns(bundle: Bundle) -> Columns:
    return Columns.of(bundle)


def record(columns: Columns, bundle: Bundle, path: str, technical: float, **values: float) -> Record:
    scores = {head.name: 0.5 for head in bundle.heads} | {"technical": technical} | values
    return columns.record(path=path, percentile=12.0, width=320, height=260, **scores)


def page(path: Path, bundle: Bundle, records: list[Record], most: int = 1000) -> str:
    report = HtmlPage(path / "report.html", bundle, device="cpu", most=most)
    for row in records:
        report.write(row)
    report.close()
    return (path / "report.html").read_text("utf-8")


class _Scripts(HTMLParser):
    """The contents of script elements by id, as a browser finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str | None, str] = {}
        self.attributes: list[dict[str, str | None]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script"
        if self._inside:
            self.attributes.append(dict(attrs))
            self.found[dict(attrs).get("id")] = ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[self.attributes[-1].get("id")] += data


def scripts(text: str) -> _Scripts:
    parsed = _Scripts()
    parsed.feed(text)
    return parsed


def photos(text: str) -> list[dict[str, Any]]:
    return list(json.loads(scripts(text).found["photos"]))


def test_photos_histograms_and_medians(bundle: Bundle, columns: Columns, folder: Path) -> None:
    rows = [record(columns, bundle, str(folder / f"{name}.jpg"), i / 10) for i, name in enumerate("abcdef")]
    text = page(folder, bundle, rows)
    assert [photo["name"] for photo in photos(text)] == [f"{name}.jpg" for name in "abcdef"]
    assert all(photo["picture"].startswith("data:image/jpeg;base64,") for photo in photos(text))
    assert text.count("<svg") == 2
    assert "the line is the median, 0.250" in text
    assert "Failures" not in text
    known = json.loads(scripts(text).found["columns"])
    assert {head.name for head in bundle.heads} <= {column["name"] for column in known}
    technical = [column["name"] for column in known].index("technical")
    assert [photo["scores"][technical] for photo in photos(text)] == [0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_prompts_are_shown_and_sorted_by(bundle: Bundle, tmp_path: Path) -> None:
    names = ["calm scene", "<b>"]
    columns = Columns.of(bundle, [Prompts(name, ("a",), ("b",)) for name in names])
    report = HtmlPage(tmp_path / "report.html", bundle, device="cpu", prompts=names)
    report.write(record(columns, bundle, "a.jpg", 0.5) | {"calm scene": 0.75, "<b>": 0.125})
    report.close()
    text = (tmp_path / "report.html").read_text("utf-8")
    own = json.loads(scripts(text).found["own"])
    assert [photos(text)[0]["scores"][index] for index in own] == [0.75, 0.125]
    options = dict(re.findall(r'<option value="([^"]*)">([^<]*)</option>', text))
    assert [options[str(index)] for index in own] == ["calm scene", "&lt;b&gt;"]


def test_it_needs_no_network(bundle: Bundle, columns: Columns, folder: Path) -> None:
    text = page(folder, bundle, [record(columns, bundle, str(folder / "a.jpg"), 0.5)])
    assert not re.search(r"https?://|@import|<link", text)
    assert all("src" not in attributes for attributes in scripts(text).attributes)
    assert "default-src 'none'; img-src data: 'self' file:;" in text


@pytest.mark.parametrize(
    "name", ["<script>alert('1')</script>\x07\udce9.jpg", '"><img onerror=alert(1)>{{ 7 * 7 }}.jpg', "javascript:x.jpg"]
)
def test_hostile_names_stay_text(bundle: Bundle, columns: Columns, tmp_path: Path, name: str) -> None:
    name = name.replace("/", "|")
    (tmp_path / name).write_bytes(encoded(picture()))
    rows = [record(columns, bundle, str(tmp_path / name), 0.5), failed(columns, name, "<b>bad</b></script>")]
    text = page(tmp_path, bundle, rows)
    plain = page(tmp_path, bundle, [record(columns, bundle, "plain.jpg", 0.5), failed(columns, "plain.jpg", "bad")])
    assert re.findall(r"</?\w+", text) == re.findall(r"</?\w+", plain)  # the same elements
    assert "\x07" not in text
    assert "49.jpg" not in text
    (photo,) = photos(text)
    assert ":" not in photo["link"]
    assert os.fsencode(name) == unquote_to_bytes(photo["link"])


def test_a_name_cannot_end_the_script(bundle: Bundle, columns: Columns, tmp_path: Path) -> None:
    text = page(tmp_path, bundle, [record(columns, bundle, "</script><b>.jpg", 0.5)])
    assert photos(text)[0]["path"] == "</script><b>.jpg"
    assert "<b>.jpg" not in text


def test_chips_tell_good_from_bad(bundle: Bundle, columns: Columns, tmp_path: Path) -> None:
    better = {"sharpness": "high", "noisiness": "low"}
    heads = tuple(msgspec.structs.replace(head, better=better.get(head.name)) for head in bundle.heads)
    manifest = msgspec.structs.replace(bundle.manifest, heads=heads, calibration=None)
    copy = shutil.copytree(bundle.path, tmp_path / "bundle")
    (copy / "bundle.json").write_bytes(msgspec.json.encode(manifest))
    values = {"sharpness": 0.99, "noisiness": 0.98, "brightness": 0.03}
    text = page(tmp_path, Bundle(copy), [record(columns, bundle, "a.jpg", 0.5, **values)])
    assert photos(text)[0]["findings"] == [["sharp", "good"], ["noisy", "bad"], ["dark", "neither"]]


def test_beyond_a_few_hundred_photos_thumbnails_lie_beside_the_page(
    bundle: Bundle, columns: Columns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "WITHIN", 9)
    (tmp_path / "a.jpg").write_bytes(encoded(picture()))
    rows = [record(columns, bundle, str(tmp_path / "a.jpg"), (i * 37 % 100) / 100) for i in range(100)]
    text = page(tmp_path, bundle, rows, most=6)
    assert len(photos(text)) == 100  # all can be reached
    technical = [head.name for head in bundle.heads].index("technical")
    ends = {photo["number"]: photo["scores"][technical] for photo in photos(text) if photo["picture"] is True}
    assert sorted(ends.values()) == [0, 0.01, 0.02, 0.97, 0.98, 0.99]
    assert {photo["picture"] for photo in photos(text)} == {True, "a.jpg"}
    script = (tmp_path / "report.html.thumbnails.js").read_text()
    call = re.fullmatch(r"/\*.*?\*/\nthumbnails\((\".*?\"), (.*)\);\n", script, re.S)
    assert call
    assert f"if (page !== {call[1]}) return;" in text  # those of another page are passed over
    given = json.loads(re.sub(r"^(\d+):", r'"\1":', call[2], flags=re.M).replace(",\n}", "\n}"))
    assert {int(number) for number in given} == set(ends)
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in given.values())
    page(tmp_path, bundle, rows[:9], most=6)
    assert not (tmp_path / "report.html.thumbnails.js").exists()


def test_nothing_of_others_is_replaced_by_thumbnails(tmp_path: Path) -> None:
    file = thumbnails.beside(tmp_path / "report.html")
    file.write_text("alert('mine')")
    with pytest.raises(ConfigError, match="its thumbnails would replace"):
        thumbnails.check(tmp_path / "report.html")
    file.write_bytes(thumbnails.MARK)
    assert thumbnails.check(tmp_path / "report.html") == file
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="its thumbnails would replace"):
        thumbnails.check(tmp_path / "report.html")


def test_the_picture_is_what_was_scored(bundle: Bundle, columns: Columns, tmp_path: Path) -> None:
    small, large = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (40, 40), "blue")
    small.save(tmp_path / "a.tif", save_all=True, append_images=[large])
    (photo,) = photos(page(tmp_path, bundle, [record(columns, bundle, str(tmp_path / "a.tif"), 0.5)]))
    shown = Image.open(io.BytesIO(base64.b64decode(photo["picture"].partition(",")[2])))
    assert shown.getpixel((5, 5))[2] > 200


def test_failures_are_listed_and_counted(bundle: Bundle, columns: Columns, tmp_path: Path) -> None:
    text = page(tmp_path, bundle, [failed(columns, f"{i}.jpg", "the file is empty") for i in range(1003)])
    assert text.count("<td>the file is empty</td>") == 1000
    assert "and 3 more" in text
    assert "<dd>1,003</dd>" in text


def test_a_photo_that_vanished_keeps_its_card(bundle: Bundle, columns: Columns, tmp_path: Path) -> None:
    (photo,) = photos(page(tmp_path, bundle, [record(columns, bundle, str(tmp_path / "gone.jpg"), 0.5)]))
    assert (photo["name"], photo["picture"]) == ("gone.jpg", None)


def test_a_run_without_scores_has_a_page(bundle: Bundle, tmp_path: Path) -> None:
    assert photos(page(tmp_path, bundle, [])) == []
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
