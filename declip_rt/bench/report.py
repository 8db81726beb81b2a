"""What a benchmark found: the data that `declip-rt bench --json` writes, as a table, and as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from declip_rt.backends.cuda.usage import Usage
from declip_rt.backends.layers import Layer, Layers
from declip_rt.bench.machine import Machine
from declip_rt.extras import load
from declip_rt.output import plot

PARTS = 5  # that a measurement is cut into, to see how it varies
MOST_LAYERS, LONGEST = 30, 50  # layers that are printed, and letters of each of their words


class Range(msgspec.Struct, frozen=True):
    """The median of the parts of a measurement, the lowest and the highest of them."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.low)} to {number(self.high)}"


class Latency(msgspec.Struct, frozen=True):
    """Percentiles of the ms from launch to result of a batch with no other in flight, over `batches` of them.

    parts: of the p50. stages_ms: where a batch's time went, as the engine tells; empty for a rival.
    """

    p50: float
    p90: float
    p99: float
    parts: Range
    batches: int
    stages_ms: dict[str, float] = {}


class Row(msgspec.Struct, frozen=True):
    """A contender at one batch and number of lanes.

    device: what ran where, in words. images_per_s: with all lanes kept full, over `batches` of them. gpu_memory_mb:
    that the process held; None where NVML does not tell. difference: the largest of a rival's scores from declip-rt's.
    matrix_share: of the FLOP/s of a large matrix product in its precision; None where not measured. usage: of the GPU,
    with all lanes full.
    """

    contender: str  # declip-rt, or one of --against
    device: str
    precision: str
    batch: int
    lanes: int
    latency: Latency
    images_per_s: Range
    batches: int
    gpu_memory_mb: float | None = None
    difference: float | None = None
    matrix_share: float | None = None
    usage: Usage | None = None

    def __str__(self) -> str:
        speed = f"{number(self.latency.p50)} ms, {number(self.images_per_s.median)} images/s"
        return f"{self.contender}, batch {self.batch}, lanes {self.lanes}: {speed}"


class Files(msgspec.Struct, frozen=True):
    """From `photos`, which are files, to scores: `images` of them, with the batch and the lanes of the fastest row.

    stages_ms: per image, added up over what runs at once. busy: the share of the cores, from 0 to 1. usage: of the GPU.
    """

    photos: str
    batch: int
    lanes: int
    workers: int
    images_per_s: Range
    images: int
    stages_ms: dict[str, float]
    busy: float
    usage: Usage | None = None


class Report(msgspec.Struct, frozen=True):
    """All of it. Units are in the names; what was not measured is None, and `notes` say why.

    seconds: of each measurement; None where it was `iterations` batches. matrix_flops: of one image with all its
    views, 2 for each multiply-add. matrix_rate: FLOP/s of a large matrix product through the same runtime, in
    `matrix_precision`. peak_memory_mb: resident, of the process, before a rival was loaded. errors: what should have
    been measured and failed. layers: of the batch with the most images/s.
    """

    date: str  # ISO 8601
    model: str
    bundle: str  # its hash
    views: tuple[int, int, int, int]  # (V, S, S, 3)
    machine: Machine
    seconds: float | None
    iterations: int | None
    rows: tuple[Row, ...]
    files: Files | None
    peak_memory_mb: float | None
    matrix_flops: int | None
    matrix_rate: float | None
    matrix_precision: str
    notes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    layers: Layers | None = None
    schema: int = 1

    def lines(self) -> Iterator[str]:
        """The table, with what it was measured on above it, and the rest below it."""
        machine, views = self.machine, self.views
        yield f"{self.model} (bundle {self.bundle[:12]}, {views[0]} of {views[1]}x{views[2]}), {self.date}"
        load = "" if machine.load is None else f" (load {machine.load:.1f} before)"
        gpus = ", ".join(machine.gpus) or "no NVIDIA GPU"
        yield f"{machine.cpu}, {machine.cores} cores{load}, {gpus}, {machine.system}"
        yield ", ".join(f"{name} {found}" for name, found in machine.libraries.items())
        yield from dict.fromkeys(f"{row.contender}: {row.device}" for row in self.rows)
        yield ""
        yield from aligned([HEADING, *map(_cells, self.rows)])
        yield "p50 to p99: ms from launch to result of a batch, one in flight; images/s: all lanes full"
        yield f"range: of up to {PARTS} parts of a measurement; n: batches measured (p99 of few is their slowest)"
        for row in self.rows:
            if len(row.latency.stages_ms) > 1:
                yield f"{row.contender}, batch {row.batch}, lanes {row.lanes}: {_stages(row.latency.stages_ms)} ms"
            if row.usage is not None:
                yield f"{row.contender}, batch {row.batch}, all {row.lanes} lanes full: {row.usage}"
        yield ""
        yield from self._from_files()
        yield from self._work()
        yield from self._layers()
        yield from self.notes
        yield from (f"failed: {error}" for error in self.errors)

    def _from_files(self) -> Iterator[str]:
        if (files := self.files) is None:
            return
        rate = files.images_per_s
        how = f"batch {files.batch}, lanes {files.lanes}, workers {files.workers}"
        busy = f"{files.busy:.0%} of {self.machine.cores} cores busy"
        yield f"from files to scores: {files.photos}; {how}"
        yield f"  {number(rate.median)} images/s ({rate}), {files.images} images, {busy}"
        yield f"  ms an image, added up over what runs at once: {_stages(files.stages_ms)}"
        if files.usage is not None:
            yield f"  {files.usage}"

    def _work(self) -> Iterator[str]:
        ours = [row for row in self.rows if row.contender == self.rows[0].contender]
        held = [row.gpu_memory_mb for row in ours if row.gpu_memory_mb is not None]
        peak = "not known" if self.peak_memory_mb is None else f"{self.peak_memory_mb:.0f} MB"
        yield f"peak memory: {peak}" + (f"; on the GPU: {max(held):.0f} MB" if held else "")
        if self.matrix_flops is not None:
            yield f"matrix FLOPs: {_flops(self.matrix_flops)} an image"
        if self.matrix_rate is not None:
            product = f"of a large {self.matrix_precision} product by the same runtime"
            yield f"matrix rate: {_flops(self.matrix_rate)}/s, {product}"

    def _layers(self) -> Iterator[str]:
        if (found := self.layers) is None:
            return
        yield ""
        yield f"layers of {found.engine}: each alone, mean of {found.runs} batches of {found.batch}"
        rows = [("", "type", "format", "ms", "share"), *map(_layer_cells, found.layers[:MOST_LAYERS])]
        rest = found.layers[MOST_LAYERS:]
        if rest:
            ms, share = sum(each.ms for each in rest), sum(each.share for each in rest)
            rows.append((f"{len(rest)} more", "", "", number(ms), f"{share:.1%}"))
        yield from aligned([*rows, (f"all {len(found.layers)}", "", "", number(found.ms), "100.0%")])

    def draw(self, path: Path) -> None:
        """Throughput against latency, a line for each contender and number of lanes. Raises ConfigError."""
        ticks = load("matplotlib.ticker")
        with plot.axes_in(path, f"{self.model}, {', '.join((self.machine.cpu, *self.machine.gpus))}") as axes:
            for name, rows in self._curves().items():
                points = [(row.latency.p50, row.images_per_s.median) for row in rows]
                axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name)
                for row, point in zip(rows, points, strict=True):
                    axes.annotate(str(row.batch), point, xytext=(4, 4), textcoords="offset points", fontsize=7)
            axes.set_xlabel("latency p50, ms (at each point: the batch)")
            axes.set_ylabel("images/s")
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(ticks.LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(ticks.NullLocator())
            axes.set_ylim(bottom=0)
            axes.legend(fontsize=7, frameon=False)

    def _curves(self) -> dict[str, list[Row]]:
        """Rows by contender, and by lanes where it was measured with several numbers of them."""
        times = Counter((row.contender, row.batch) for row in self.rows)
        curves: dict[str, list[Row]] = {}
        for row in self.rows:
            lanes = f", lanes {row.lanes}" if times[row.contender, self.rows[0].batch] > 1 else ""
            curves.setdefault(f"{row.contender}, {row.precision}{lanes}", []).append(row)
        return curves


HEADING = ("", "batch", "lanes", "p50 ms", "range", "p90", "p99", "n", "images/s", "range", "n", "of matrix rate")


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines with columns of equal width: words to the left, the rest to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        yield "  ".join((first.ljust(widths[0]), *cells)).rstrip()


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}"


def _cells(row: Row) -> tuple[str, ...]:
    latency, rate = row.latency, row.images_per_s
    figures = (number(latency.p50), str(latency.parts), number(latency.p90), number(latency.p99), str(latency.batches))
    share = "-" if row.matrix_share is None else f"{row.matrix_share:.0%}"
    speeds = (number(rate.median), str(rate), str(row.batches), share)
    return (f"{row.contender}, {row.precision}", str(row.batch), str(row.lanes), *figures, *speeds)


def _layer_cells(layer: Layer) -> tuple[str, ...]:
    words = (layer.name, f"{layer.type} {layer.kernel}".strip(), layer.format)
    return (
        *(f"{word[: LONGEST - 1]}…" if len(word) > LONGEST else word for word in words),
        number(layer.ms),
        f"{layer.share:.1%}",
    )


def _flops(value: float) -> str:
    return f"{number(value / 1e12)} TFLOP" if value >= 1e12 else f"{number(value / 1e9)} GFLOP"


def _stages(milliseconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in milliseconds.items())
