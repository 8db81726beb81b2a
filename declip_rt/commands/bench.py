"""`declip-rt bench`: how fast a model is on this machine, and where its time goes."""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from PIL import Image

from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Device, EngineInfo, Floats
from declip_rt.bench import flops, layers, rivals
from declip_rt.bench.machine import Machine, peak_memory
from declip_rt.bench.measure import Effort, from_files, measure
from declip_rt.bench.ort import Ort
from declip_rt.bench.report import Files, Report, Row
from declip_rt.bench.rivals import Opener
from declip_rt.commands import running
from declip_rt.commands.running import Running, parsed
from declip_rt.errors import ConfigError, DeclipError, EngineError, ImageError, Unavailable
from declip_rt.images import sources
from declip_rt.model.bundle import Bundle
from declip_rt.output import plot
from declip_rt.output.terminal import printable
from declip_rt.stats import Stats

logger = logging.getLogger(__name__)
OURS = "declip-rt"
MADE_PHOTOS = 8  # photos that are made up
MAX_PHOTOS = 1000  # of those that are given
RIVALS: Mapping[str, Opener] = {"ort": Ort()}
DESCRIPTION = (
    "Measure how fast a model runs here: the latency of a batch and the images/s of all lanes at each --batch and "
    "--lanes, from noise in memory; then the images/s from files, and what they take."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add = parser.add_argument
    running.add_options(parser)
    add("--batch", dest="batches", default="1,8,32", metavar="N,...", help="images computed together (default: 1,8,32)")
    add("--lanes", dest="lane_counts", metavar="N,...", help="batches in flight on a GPU (default: the engine's)")
    length, files = parser.add_mutually_exclusive_group(), parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=3.0, metavar="S", help="for each measurement (default: 3)")
    length.add_argument("--iterations", type=int, metavar="N", help="batches for each measurement, in place of seconds")
    add("--warmup", type=float, default=1.0, metavar="S", help="seconds before each measurement (default: 1)")
    files.add_argument(
        "--images", metavar="PATH", help="photos: a file, a folder or a glob (default: made on the spot)"
    )
    files.add_argument("--size", default="1920x1080", metavar="WxH", help="of the photos made (default: 1920x1080)")
    add("--against", metavar="NAME,...", help="measure others on the same pixels: ort")
    add("--layers", action="store_true", help="how long each layer takes, of --device cpu or tensorrt")
    add("--json", dest="json_file", type=Path, metavar="FILE", help="write all figures")
    add("--plot", dest="plot_file", type=Path, metavar="FILE", help="draw latency and images/s: .png or .svg")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    return parsed(options, Bench).run()


@dataclass(frozen=True)
class _Measured:
    """A row of declip-rt, what ran, and the scores that a rival should give, (batch, K)."""

    row: Row
    info: EngineInfo
    scores: Floats


@dataclass(frozen=True)
class _Matrix:
    """The FLOPs of an image and the FLOP/s of the device in a precision; and why not, where they are not known."""

    precision: str
    flops: int | None = None
    rate: float | None = None
    notes: tuple[str, ...] = ()

    def shared(self, row: Row) -> Row:
        """The row with its share of the rate, where that is known."""
        if self.flops is None or self.rate is None or row.precision != self.precision:
            return row
        return msgspec.structs.replace(row, matrix_share=self.flops * row.images_per_s.median / self.rate)


@dataclass(frozen=True)
class Bench:
    """The options of `declip-rt bench`; its `--help` says what each means.

    running: for each measurement its batch and lanes are replaced. rivals: what --against may name.
    """

    running: Running
    batches: str = "1,8,32"
    lane_counts: str | None = None
    seconds: float = 3.0
    iterations: int | None = None
    warmup: float = 1.0
    images: str | None = None
    size: str = "1920x1080"
    against: str | None = None
    layers: bool = False
    json_file: Path | None = None
    plot_file: Path | None = None
    rivals: Mapping[str, Opener] = field(default_factory=lambda: RIVALS)

    def run(self) -> int:
        """Measures, prints and writes, and returns the exit code: 1 where something failed. Raises DeclipError."""
        self._check()
        report = self.measure()
        for line in report.lines():
            print(printable(line))
        if self.json_file is not None:
            self._write(self.json_file, report)
        if self.plot_file is not None:
            report.draw(self.plot_file)
        return 1 if report.errors else 0

    def measure(self) -> Report:
        """Raises DeclipError where the first batch cannot be measured."""
        bundle, effort = Bundle(self.running.model), Effort(self.seconds, self.iterations, self.warmup)
        machine, errors, files = Machine.here(), list[DeclipError](), None
        ours = self._all_ours(bundle, effort, errors)
        fastest = max(ours, key=lambda each: each.row.images_per_s.median)
        with _noting(errors):
            files = self._from_files(fastest.row, effort)
        memory = peak_memory()
        matrix = self._matrix(bundle, ours[0].info)
        by_layer = None
        if self.layers:
            with _noting(errors):
                options = replace(self.running, batch=fastest.row.batch).engine
                by_layer = layers.measure(bundle, options, fastest.info, effort)
        rows = [each.row for each in ours] + self._all_rivals(bundle, ours, effort, errors)
        return Report(
            date=datetime.now().astimezone().isoformat(timespec="seconds"),
            model=bundle.name,
            bundle=bundle.hash,
            views=bundle.views.shape,
            machine=machine,
            seconds=None if self.iterations else self.seconds,
            iterations=self.iterations,
            rows=tuple(map(matrix.shared, rows)),
            files=files,
            peak_memory_mb=memory,
            matrix_flops=matrix.flops,
            matrix_rate=matrix.rate,
            matrix_precision=matrix.precision,
            notes=matrix.notes,
            errors=tuple(map(str, errors)),
            layers=by_layer,
        )

    def _check(self) -> None:
        if self.layers:
            layers.check(self.running.engine.on)
        ConfigError.check_counts(iterations=self.iterations)
        for option, value in (("seconds", self.seconds), ("warmup", self.warmup)):
            if not 0 <= value < float("inf"):
                raise ConfigError(f"--{option} must be 0 or more, not {value}")
        counts("--batch", self.batches)
        for name in self._against:
            self._opener(name).check()
        _sides(self.size)
        if self.images is not None:
            _listed(self.images)
        if self.plot_file is not None:
            plot.check(self.plot_file)
        if self.json_file is not None and not self.json_file.absolute().parent.is_dir():
            raise ConfigError(f"cannot write {self.json_file}: its folder does not exist")

    @property
    def _lanes(self) -> Sequence[int | None]:
        return (None,) if self.lane_counts is None else counts("--lanes", self.lane_counts)

    @property
    def _against(self) -> list[str]:
        return list(dict.fromkeys(self.against.split(","))) if self.against else []

    def _opener(self, name: str) -> Opener:
        if name in self.rivals:
            return self.rivals[name]
        more = (
            "; python -m benchmarks.bench, in a checkout of the repository, knows torch"
            if self.rivals is RIVALS
            else ""
        )
        raise ConfigError(f"--against knows no {name!r}; choose from {', '.join(self.rivals)}{more}")

    def _all_ours(self, bundle: Bundle, effort: Effort, errors: list[DeclipError]) -> list[_Measured]:
        found: list[_Measured] = []
        for lanes, batch in itertools.product(self._lanes, counts("--batch", self.batches)):
            with _noting(errors) if found else nullcontext():  # what fails first would fail again
                found.append(self._ours(bundle, batch, lanes, effort))
        return found

    def _ours(self, bundle: Bundle, batch: int, lanes: int | None, effort: Effort) -> _Measured:
        stats = Stats()
        engine = open_engine(bundle, replace(self.running, batch=batch, lanes=lanes).engine, stats)
        with closing(engine):
            row = measure(OURS, engine, bundle.views, effort, stats)
            logger.info("%s", row)
            return _Measured(row, engine.info, rivals.scores(engine, bundle.views))

    def _all_rivals(
        self, bundle: Bundle, ours: Sequence[_Measured], effort: Effort, errors: list[DeclipError]
    ) -> list[Row]:
        rows: list[Row] = []
        scores = {each.row.batch: each.scores for each in ours}
        for name, batch in itertools.product(self._against, scores):
            with _noting(errors):
                rows.append(self._rival(name, bundle, ours[0].info, scores[batch], effort))
        return rows

    def _rival(self, name: str, bundle: Bundle, ours: EngineInfo, scores: Floats, effort: Effort) -> Row:
        task = rivals.Task(
            bundle,
            _device(ours),
            len(scores),
            ours.precision,
            half=self.running.precision != "fp32",
            threads=self.running.threads,
        )
        with closing(self._opener(name).open(task)) as rival:
            difference = rivals.compare(rival, scores, ours.precision, bundle.views)
            row = measure(name, rival, bundle.views, effort, Stats())
        logger.info("%s", row)
        return msgspec.structs.replace(row, difference=difference)

    def _from_files(self, row: Row, effort: Effort) -> Files:
        with TemporaryDirectory() as folder:
            made = self.images is None
            paths = made_up(Path(folder), *_sides(self.size)) if self.images is None else _listed(self.images)
            what = (
                f"{len(paths)} JPEGs of {self.size} made up on the spot" if made else f"{len(paths)} of {self.images}"
            )
            lanes = None if self.lane_counts is None else row.lanes
            with replace(self.running, batch=row.batch, lanes=lanes).open() as scorer:
                return from_files(scorer, paths, what, row, effort)

    def _matrix(self, bundle: Bundle, ran: EngineInfo) -> _Matrix:
        work, graph = None, "fp32" if "fp32" in bundle.manifest.graphs else ran.precision
        try:
            work = flops.count(bundle.graph(graph))
            rate = flops.matrix_rate(_device(ran), ran.precision, self.running.threads)
        except (EngineError, Unavailable) as error:
            return _Matrix(ran.precision, work, notes=(f"matrix {'rate' if work else 'FLOPs'}: {error}",))
        return _Matrix(ran.precision, work, rate)

    @staticmethod
    def _write(path: Path, report: Report) -> None:
        try:
            path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def made_up(folder: Path, width: int, height: int) -> list[str]:
    """JPEGs of quality 90 with coarse and fine structure and some noise, so that they take as long as photos."""
    paths = []
    for seed in range(MADE_PHOTOS):
        rng = np.random.default_rng(seed)
        mixed = 4 * rng.standard_normal((height, width, 1), np.float32)
        for cells, weight in ((4, 0.6), (24, 0.3), (120, 0.1)):
            few = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
            mixed = mixed + weight * np.asarray(few.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        paths.append(str(folder / f"{seed}.jpg"))
        Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def counts(option: str, text: str) -> tuple[int, ...]:
    """The numbers in 1,8,32. Raises ConfigError."""
    if not re.fullmatch(r"[1-9]\d{0,5}(,[1-9]\d{0,5})*", text):
        raise ConfigError(f"{option} {text}: give whole numbers from 1 on with commas between, as in {option} 1,8,32")
    return tuple(dict.fromkeys(map(int, text.split(","))))


def _sides(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise ConfigError(f"--size {text}: give width and height in pixels, as in --size 1920x1080")
    return int(match[1]), int(match[2])


def _listed(images: str) -> list[str]:
    paths = list(itertools.islice(sources.expand([images]), MAX_PHOTOS))
    if not paths or not os.path.exists(paths[0]):
        raise ConfigError(f"--images {images}: there are no images")
    return paths


@contextmanager
def _noting(errors: list[DeclipError]) -> Iterator[None]:
    """One thing that cannot be measured is not the end of the others."""
    try:
        yield
    except (EngineError, ImageError, Unavailable) as error:
        errors.append(error)
        logger.warning("failed: %s", error)


def _device(info: EngineInfo) -> Device:
    """Where rivals run: OpenVINO's device is taken for the CPU."""
    return Device("cpu") if info.kind == "openvino" else Device(info.kind, info.index or 0)
