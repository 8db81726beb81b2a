"""An HTML page of one run: contact sheet, histograms, failures. It needs no network and no server."""

from __future__ import annotations

import datetime
import heapq
import logging
import os
import secrets
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from urllib.parse import quote

import jinja2
import msgspec
import numpy as np

from declip_rt.disk import write_whole
from declip_rt.images import sources
from declip_rt.images.stores.archive import Member
from declip_rt.model.bundle import Bundle
from declip_rt.output import thumbnails
from declip_rt.output.records import Record, findings, mos_columns
from declip_rt.output.terminal import printable
from declip_rt.stats import Stats

BINS = 20
logger = logging.getLogger(__name__)
FAILURES = 1000  # failures listed
WITHIN = 300  # photos whose thumbnails are in the page; those of more are beside it
THUMBNAILS = 1000  # of the photos with the lowest and the highest scores; of others the browser shows what it can


class HtmlPage:
    """A sink that writes the page on `close`, in one step.

    All photos are in the page. Their records wait on disk, so that memory does not grow with the run.
    Thumbnails are made of `most` photos, in halves of the lowest and the highest scores.
    """

    def __init__(
        self,
        path: Path,
        bundle: Bundle,
        *,
        device: str,
        prompts: Sequence[str] = (),
        stats: Stats | None = None,
        most: int = THUMBNAILS,
    ) -> None:
        self._path, self._bundle, self._device, self._stats = path, bundle, device, stats
        self._own = (*mos_columns(bundle), *prompts)  # columns that only some bundles or runs have
        self._columns = [*(head.name for head in bundle.heads), *self._own]
        self._scores = {"technical": array("f"), "aesthetic": array("f")}
        self._most, self._ends = most, _Ends(most // 2)
        self._photos = TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed in close
        self._members: dict[int, Member] = {}  # those of whom a thumbnail may be made
        self._failures: list[dict[str, str]] = []
        self._failed = 0

    def write(self, record: Record) -> None:
        if record["error"] is not None:
            self._failed += 1
            if len(self._failures) < FAILURES:
                self._failures.append({key: printable(record[key]) for key in ("path", "error")})
            return
        self._ends.add(record["technical"], self._scored)
        self._remember(record["path"])
        try:
            self._photos.write(msgspec.json.encode(self._photo(record)) + b"\n")
        except OSError as error:  # which does not name a file that has no name
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        for name, values in self._scores.items():
            values.append(record[name])

    def close(self) -> None:
        histograms = [_histogram(name, values) for name, values in self._scores.items() if values]
        ends, name, file = self._ends.numbers(), secrets.token_hex(8), thumbnails.beside(self._path)
        inside: dict[int, str | None] = {}
        if self._scored <= WITHIN:
            inside |= thumbnails.make(self._files(ends))
            file.unlink(missing_ok=True)
        else:
            logger.info("making %d thumbnails", len(ends))
            write_whole(file, lambda partial: thumbnails.write(partial, name, self._files(ends)))
        template = environment(Path(__file__).parent).get_template("page.html")
        page = template.stream(
            title=printable(f"{self._bundle.name}: {self._scored:,} photos"),
            facts=self._facts(histograms),
            histograms=histograms,
            columns=[{"name": name, "words": _words(name)} for name in self._columns],
            own=[self._columns.index(name) for name in self._own],
            photos=self._lines(inside, ends),
            page=name,
            beside="" if inside or not ends else quote(os.fsencode(file.name)),
            failures=self._failures,
            more=self._failed - len(self._failures),
        )
        with self._photos:
            write_whole(self._path, lambda partial: page.dump(str(partial), "utf-8"))

    def _remember(self, path: str) -> None:
        if isinstance(path, Member):
            self._members[self._scored] = path
            if len(self._members) > 2 * self._most:
                self._members = {number: self._members[number] for number in self._ends.numbers() & {*self._members}}

    @property
    def _scored(self) -> int:
        return len(self._scores["technical"])

    def _photo(self, record: Record) -> dict[str, object]:
        """What the page's script knows of a photo."""
        return {
            "number": self._scored,
            "file": os.fsencode(record["path"]).hex(),  # any bytes, until the thumbnail is made
            "name": printable(os.path.basename(record["path"])),
            "path": printable(record["path"]),
            "link": link(sources.file_of(record["path"]), self._path),
            "size": f"{record['width']}×{record['height']}",
            "scores": [round(record[name], 4) for name in self._columns],
            "percentile": record["percentile"] and round(record["percentile"]),
            "findings": [list(found) for found in findings(record, self._bundle, 3)],
        }

    def _files(self, numbers: set[int]) -> Iterator[thumbnails.Photo]:
        """The numbers and paths of some photos."""
        for photo in self._kept():
            if photo["number"] in numbers:
                name = os.fsdecode(bytes.fromhex(photo["file"]))
                yield photo["number"], self._members.get(photo["number"], name)

    def _lines(self, inside: Mapping[int, str | None], beside: set[int]) -> Iterator[str]:
        """The photos as JSON that may stand in a script element. `picture` is true where it is beside the page."""
        for photo in self._kept():
            del photo["file"]
            number = photo["number"]
            photo["picture"] = inside[number] if number in inside else number in beside or photo["link"]
            yield msgspec.json.encode(photo).decode().replace("<", "\\u003c")

    def _kept(self) -> Iterator[dict[str, Any]]:
        self._photos.seek(0)
        yield from map(msgspec.json.decode, self._photos)

    def _facts(self, histograms: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        calibration = self._bundle.manifest.calibration
        facts = {"scored": f"{self._scored:,}", "failed": f"{self._failed:,}"}
        for histogram in histograms:
            facts[f"median {histogram['name']}"] = f"{histogram['median']:.3f}"
        facts["model"] = f"{self._bundle.name} {self._bundle.hash[:12]}"
        facts["device"] = self._device
        facts["made"] = f"{datetime.datetime.now():%Y-%m-%d %H:%M}"
        if calibration and calibration.percentiles:
            facts["percentiles against"] = calibration.reference
        if self._stats:
            facts["time"] = self._stats.summary()
        return facts


class _Ends:
    """The numbers of the photos with the `half` lowest and the `half` highest scores."""

    def __init__(self, half: int) -> None:
        self._half = half
        self._lowest: list[tuple[float, int]] = []  # heap, the highest of the low ones first
        self._highest: list[tuple[float, int]] = []  # heap, the lowest of the high ones first

    def add(self, score: float, number: int) -> None:
        if len(self._highest) < self._half:
            heapq.heappush(self._highest, (score, number))
            return
        score, number = heapq.heappushpop(self._highest, (score, number))
        heapq.heappush(self._lowest, (-score, number))
        if len(self._lowest) > self._half:
            heapq.heappop(self._lowest)

    def numbers(self) -> set[int]:
        return {number for _, number in (*self._lowest, *self._highest)}


def _words(name: str) -> str:
    return printable(name.replace("_", " "))


def environment(folder: Path) -> jinja2.Environment:
    """For the templates in a folder: what they show is escaped."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def link(path: str, page: Path) -> str:
    """The file, from the page's folder."""
    real = path if "\0" in path else os.path.realpath(path)
    relative = os.path.relpath(real, os.path.realpath(page.parent))
    return quote(os.fsencode(relative).replace(os.sep.encode(), b"/"))


def _histogram(name: str, values: array[float]) -> dict[str, Any]:
    """What the template draws."""
    scores = np.array(values, np.float32)
    counts, _ = np.histogram(scores, BINS, (0, 1))
    bars = [{"at": i, "of": BINS, "count": int(n), "share": float(n / counts.max())} for i, n in enumerate(counts)]
    return {"name": name, "bars": bars, "median": float(np.median(scores))}
