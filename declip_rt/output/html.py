"""A self-contained HTML page of one run: contact sheet, histograms, failures."""

from __future__ import annotations

import base64
import datetime
import heapq
import io
import os
import statistics
from array import array
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

import numpy as np
from PIL import Image

from declip_rt.disk import write_whole
from declip_rt.errors import ImageError
from declip_rt.images import formats, sources
from declip_rt.images.decode import from_pil
from declip_rt.model.bundle import Bundle
from declip_rt.output.records import Record, findings, mos_columns
from declip_rt.output.terminal import printable
from declip_rt.stats import Stats

THUMBNAIL = 280  # longest side, pixels
BINS = 20
FAILURES = 1000  # failures listed


class HtmlPage:
    """A sink that writes the page on `close`, in one step.

    Memory does not grow with the run: of more than `limit` scored photos the `limit // 2` with the lowest and the
    `limit // 2` with the highest technical score are shown.
    """

    def __init__(
        self,
        path: Path,
        bundle: Bundle,
        *,
        device: str,
        prompts: Sequence[str] = (),
        stats: Stats | None = None,
        limit: int = 1000,
    ) -> None:
        self._path, self._bundle, self._device, self._limit = path, bundle, device, limit
        self._stats = stats
        self._own = (*mos_columns(bundle), *prompts)  # columns that only some bundles or runs have
        self._keys = {head.name: head.name.replace("_", "-") for head in bundle.heads}  # column: its data- attribute
        self._keys |= {name: f"own-{i}" for i, name in enumerate(self._own)}
        self._scores = {"technical": array("f"), "aesthetic": array("f")}
        self._lowest: list[tuple[float, int, Record]] = []  # heap, the highest of the low ones first
        self._highest: list[tuple[float, int, Record]] = []  # heap, the lowest of the high ones first
        self._failures: list[Record] = []
        self._failed = 0

    def write(self, record: Record) -> None:
        if record["error"] is not None:
            self._failed += 1
            if len(self._failures) < FAILURES:
                self._failures.append(record)
            return
        for name, values in self._scores.items():
            values.append(record[name])
        number = self._scored
        half = self._limit // 2
        entry = (record["technical"], number, record)
        if len(self._highest) < half:
            heapq.heappush(self._highest, entry)
            return
        score, number, record = heapq.heappushpop(self._highest, entry)
        heapq.heappush(self._lowest, (-score, number, record))
        if len(self._lowest) > half:
            heapq.heappop(self._lowest)

    def close(self) -> None:
        page = Template((Path(__file__).parent / "page.html").read_text("utf-8")).substitute(
            title=escape(printable(f"{self._bundle.name}: {self._scored} photos")),
            facts=self._facts(),
            histograms="".join(_histogram(name, values) for name, values in self._scores.items() if values),
            options="".join(
                f'<option value="{escape(key)}">{escape(_words(column))}</option>' for column, key in self._keys.items()
            ),
            shown=self._shown_note(),
            cards="".join(self._card(number, record) for number, record in self._kept()),
            failures=self._failure_table(),
        )
        write_whole(self._path, page.encode("utf-8"))

    @property
    def _scored(self) -> int:
        return len(self._scores["technical"])

    def _kept(self) -> list[tuple[int, Record]]:
        """The shown records with their numbers, in input order."""
        return sorted(
            ((number, record) for _, number, record in (*self._lowest, *self._highest)), key=lambda kept: kept[0]
        )

    def _facts(self) -> str:
        calibration = self._bundle.manifest.calibration
        facts = {"scored": f"{self._scored:,}", "failed": f"{self._failed:,}"}
        for name, values in self._scores.items():
            if values:
                facts[f"median {name}"] = f"{statistics.median(values):.3f}"
        facts["model"] = f"{self._bundle.name} {self._bundle.hash[:12]}"
        facts["device"] = self._device
        facts["made"] = f"{datetime.datetime.now():%Y-%m-%d %H:%M}"
        if calibration and calibration.percentiles:
            facts["percentiles against"] = calibration.reference
        if self._stats:
            facts["time"] = self._stats.summary()
        return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())

    def _shown_note(self) -> str:
        shown = len(self._lowest) + len(self._highest)
        if shown == self._scored:
            return f"{shown:,} photos"
        return f"the {len(self._lowest):,} lowest and {len(self._highest):,} highest of {self._scored:,} photos"

    def _card(self, number: int, record: Record) -> str:
        name = escape(printable(os.path.basename(record["path"])))
        data = "".join(f' data-{escape(key)}="{record[column]:.6f}"' for column, key in self._keys.items())
        own = "".join(f"<span>{escape(_words(column))} {record[column]:.3f}</span>" for column in self._own)
        percentile = "" if record["percentile"] is None else f"<span>percentile {record['percentile']:.0f}</span>"
        chips = "".join(f'<span class="chip">{escape(word)}</span>' for word in findings(record, self._bundle, 3))
        return (
            f'<li class="card" data-number="{number}" data-name="{name}"{data}>'
            f'<a href="{escape(_link(record["path"], self._path))}" title="{escape(printable(record["path"]))}">'
            f"{_thumbnail(record['path'], name)}</a>"
            f'<div class="text"><p class="name">{name}</p>'
            f'<p class="score"><small>technical</small><b>{record["technical"]:.3f}</b>'
            f'<span class="bar"><i style="width:{100 * record["technical"]:.0f}%"></i></span></p>'
            f'<p class="more"><span>aesthetic {record["aesthetic"]:.3f}</span>{percentile}'
            f"{own}<span>{record['width']}×{record['height']}</span></p><p>{chips}</p></div></li>\n"
        )

    def _failure_table(self) -> str:
        if not self._failures:
            return ""
        rows = "".join(
            f"<tr><td>{escape(printable(record['path']))}</td><td>{escape(printable(record['error']))}</td></tr>"
            for record in self._failures
        )
        left = self._failed - len(self._failures)
        more = f"<p>and {left:,} more</p>" if left else ""
        head = "<thead><tr><th>file</th><th>why it has no score</th></tr></thead>"
        return f'<section><h2>Failures</h2><table class="failures">{head}<tbody>{rows}</tbody></table>{more}</section>'


def _words(name: str) -> str:
    return name.replace("_", " ")


def _link(path: str, report: Path) -> str:
    """The photo, from the page's folder."""
    relative = os.path.relpath(path, report.absolute().parent)
    return quote(os.fsencode(relative).replace(os.sep.encode(), b"/"))


def _thumbnail(path: str, name: str) -> str:
    try:
        with formats.opened(sources.read(path).data) as image:
            image.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
            small = Image.fromarray(from_pil(image))
    except (ImageError, OSError):
        return '<span class="gone">no longer readable</span>'
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{name}" width="{small.width}" height="{small.height}" src="data:image/jpeg;base64,{data}">'


def _histogram(name: str, values: Iterable[float]) -> str:
    """An SVG of 400 by 150 units."""
    scores = np.fromiter(values, np.float32)
    counts, _ = np.histogram(scores, BINS, (0, 1))
    width, height, base = 400 / BINS, 105, 120
    bars = ""
    for i, count in enumerate(counts):
        tall = height * count / counts.max()
        label = f"{count} in {i / BINS:.2f} to {(i + 1) / BINS:.2f}"
        box = f'x="{i * width + 1:g}" y="{base - tall:.1f}" width="{width - 2:g}" height="{tall:.1f}"'
        bars += f"<rect {box}><title>{label}</title></rect>"
    ticks = "".join(f'<text x="{400 * t:g}" y="138" text-anchor="middle">{t:g}</text>' for t in (0.25, 0.5, 0.75))
    median = 400 * float(np.median(scores))
    return (
        f"<figure><figcaption>{name} <small>0 bad to 1 good; the line is the median, {median / 400:.3f}</small>"
        f'</figcaption><svg viewBox="0 0 400 142" role="img" aria-label="histogram of {name}">{bars}'
        f'<path d="M0 {base}H400" class="axis"/><path d="M{median:.1f} 5V{base}" class="median"/>'
        f'<text x="0" y="138">0</text>{ticks}<text x="400" y="138" text-anchor="end">1</text></svg></figure>'
    )
