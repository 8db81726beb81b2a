"""`declip-rt frames`: scores of frames that come from another program, while they come."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np

from declip_rt.commands import running
from declip_rt.commands.running import Running, parsed
from declip_rt.errors import ConfigError, ImageError
from declip_rt.output import records, target
from declip_rt.scorer import Scorer
from declip_rt.video.alert import Alert
from declip_rt.video.events import Event
from declip_rt.video.facts import Facts
from declip_rt.video.handover import Behind, Handover
from declip_rt.video.metrics import Metrics
from declip_rt.video.pipe import RAW, UNTOLD, Pipe, begins_as_y4m, check_raw
from declip_rt.video.pixels import COLORS, Pixels, aspect_of
from declip_rt.video.planes import as_stream, pictures
from declip_rt.video.sampling import Grid, Picture
from declip_rt.video.signals import Signals
from declip_rt.video.timeline import pool

STDIN = "-"
POOLED = 1_000_000  # samples that the summary is made of, the newest: a stream may go on for years
DESCRIPTION = "Score frames that another program writes. Prints a JSON line for each sample and event, and a summary."
EXIT_CODES = (
    "exit codes: 0 the stream ended, or SIGTERM or SIGINT came; 1 it broke off, or --exit-on-alert; "
    "2 the command could not run"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = DESCRIPTION, EXIT_CODES
    add = parser.add_argument
    add("stream", metavar="STREAM", help="- for standard input, or a named pipe or file: YUV4MPEG2, or raw frames")
    add("--size", type=_size, metavar="WxH", help="of raw frames, in pixels")
    add("--pix", choices=RAW, help="how raw frames lie in the stream")
    add("--fps", type=float, metavar="N", help="raw frames a second")
    add("--every", type=_seconds, default=1.0, metavar="T", help="seconds between samples: 0.5, 2s (default: 1s)")
    add(
        "--color",
        choices=COLORS,
        default="auto",
        help="the matrix of YUV (default: BT.709 from 720 lines, else BT.601)",
    )
    add(
        "--behind",
        choices=get_args(Behind),
        default="block",
        help="where scoring is slower than the stream: block lets the writer wait (default), drop scores the newest "
        "sample and counts those that nobody scored",
    )
    add("--name", default="", metavar="NAME", help="the stream's name in rows (path) and metrics (label stream)")
    add(
        "--prometheus-textfile",
        type=Path,
        metavar="FILE",
        help="keep the newest figures in a .prom file for the textfile collector of node_exporter",
    )
    add(
        "--alert",
        action="append",
        default=[],
        metavar="RULE",
        help="print an event where a value stays beyond a limit: 'technical<0.35 for 5s'; repeatable",
    )
    add("--exit-on-alert", action="store_true", help="end with 1 at the first alert")
    running.add_engine_options(parser)
    running.add_batch_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    return parsed(options, Job).run()


@dataclass(frozen=True)
class Job:
    """The options of `declip-rt frames`; its `--help` says what each means."""

    running: Running
    stream: str
    size: tuple[int, int] | None = None
    pix: str | None = None
    fps: float | None = None
    every: float = 1.0
    color: str = "auto"
    behind: Behind = "block"
    name: str = ""
    prometheus_textfile: Path | None = None
    alert: Sequence[str] = ()
    exit_on_alert: bool = False

    def run(self) -> int:
        """Scores until the stream ends or a signal comes. Returns the exit code: 1 for a broken stream or an alert."""
        if self.exit_on_alert and not self.alert:
            raise ConfigError("--exit-on-alert needs an --alert")
        check_raw(self.size, self.pix, self.fps)
        file = self.prometheus_textfile
        metrics = Metrics(target.place("--prometheus-textfile", file, (".prom", ".txt")), self.name) if file else None
        with _opened(self.stream) as stream, self._running(stream) as scorer:
            names = [head.name for head in scorer.bundle.heads]
            alerts = [Alert.parse(text, names) for text in self.alert]
            watch = _Watch(self, stream)
            handover = Handover(watch.samples(), self.behind)
            report = _Report(self, scorer, watch, handover, metrics)
            with _stopped_by(signal.SIGTERM, handover.stop), _stopped_by(signal.SIGINT, handover.stop):
                error = None
                try:
                    with closing(iter(handover)) as samples:
                        for picture in samples:
                            if report.score(picture, alerts) and self.exit_on_alert:
                                break
                except ImageError as broken:
                    error = broken.reason
                watch.close()
                if error:
                    print_line({"path": self.path, "time": watch.until, "error": error})
                report.end(error)
        return 1 if error or (self.exit_on_alert and any(each.fired for each in alerts)) else 0

    @property
    def path(self) -> str:
        return self.name or self.stream

    def _running(self, stream: BinaryIO) -> Scorer:
        """The scorer. Raises ConfigError before it is made where a file's frames cannot be read."""
        if self.size is None and stream.seekable() and not begins_as_y4m(stream):
            raise ConfigError(UNTOLD)
        return self.running.open()


@dataclass
class _Watch:
    """Reads the stream, in a thread of its own, and knows what was seen of it. `close` ends what goes on."""

    job: Job
    stream: BinaryIO
    frames: int = 0
    until: float = 0.0  # seconds, at which the newest frame ends
    arrived: float = 0.0  # when it came, in seconds since 1970
    frozen: float = 0.0  # seconds
    facts: Facts | None = None
    pixels: Pixels | None = None
    _told: float = field(default=0.0, repr=False)  # seconds of the freezes that were printed
    _signals: Signals = field(default_factory=Signals, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _closed: bool = field(default=False, repr=False)

    def samples(self) -> Iterator[Picture]:
        """The frames that are to be scored. Prints events. Raises ImageError where the stream breaks off."""
        pipe = Pipe(self.stream, self.job.size, self.job.pix, self.job.fps)
        stream = as_stream(pipe.format)
        self.pixels = Pixels(self.job.color, aspect_of(stream))
        grid = Grid(self.job.every)
        broken: ImageError | None = None
        try:
            for picture in pictures(pipe):
                if self.facts is None:
                    facts = Facts.of(stream, picture.frame, self.pixels)
                    self.facts = replace(facts, interlaced=pipe.format.interlaced)
                if not self._see(picture):
                    return
                yield from grid.push(picture)
        except ImageError as error:
            broken = error
        yield from grid.flush(self.until)
        self.close()
        if broken:
            raise broken

    def close(self) -> None:
        """Prints the events that go on; none is printed after. Any thread may call it, more than once."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._signals.close(self.until)
                self._tell()

    def _see(self, picture: Picture) -> bool:
        """Looks at a frame; not at those that come after `close`."""
        with self._lock:
            if self._closed:
                return False
            self._signals.push(picture)
            self.frames, self.until, self.arrived = self.frames + 1, picture.until, time.time()
            self._tell()
            return True

    def _tell(self) -> None:
        told, self._signals.events = self._signals.events, []
        for event in told:
            self._told += event.end - event.start if event.kind == "freeze" else 0
            print_event(self.job.path, event)
        self.frozen = self._told + self._signals.frozen(self.until)


@dataclass
class _Report:
    """Scores samples, and tells of them."""

    job: Job
    scorer: Scorer
    watch: _Watch
    handover: Handover[Picture]
    metrics: Metrics | None
    samples: int = 0
    alerts: int = 0
    heads: dict[str, float] = field(default_factory=dict)  # of the newest sample
    _times: array[float] = field(default_factory=lambda: array("d"), repr=False)
    _values: array[float] = field(default_factory=lambda: array("d"), repr=False)

    def score(self, picture: Picture, alerts: Sequence[Alert]) -> bool:
        """Prints the sample's line. Returns whether an alert began."""
        assert self.watch.pixels is not None
        score = self.scorer.score(self.watch.pixels.convert(picture.frame))
        heads = {"technical": score.technical, "aesthetic": score.aesthetic, **score.attributes}
        words = records.findings(heads, self.scorer.bundle)
        row = {"path": self.job.path, "time": picture.time, **heads, "percentile": score.percentile}
        told = {"findings": ", ".join(each.word for each in words) or None, "flags": ", ".join(picture.flags) or None}
        print_line(row | told)
        self.samples, self.heads = self.samples + 1, heads
        self._keep(picture.time, score.technical)
        began = [self._alert(alert, picture.time) for alert in alerts]
        self._write_metrics()
        return any(began)

    def end(self, error: str | None) -> None:
        """Prints the summary."""
        pooled = asdict(pool(np.array(self._times), np.array(self._values), self.watch.until)) if self._times else {}
        facts = asdict(self.watch.facts) if self.watch.facts else {}
        counts = {"frames": self.watch.frames, "dropped": self.handover.dropped}
        row = {"path": self.job.path, "duration": self.watch.until, "samples": self.samples, **pooled, **facts}
        more = {"freeze_seconds": self.watch.frozen, "alerts": self.alerts, "error": error}
        print_line({"summary": row | counts | more})
        self._write_metrics(now=True)

    def _alert(self, alert: Alert, at: float) -> bool:
        turn = alert.see(at, self.heads[alert.name])
        if turn is None:
            return False
        print_line({"path": self.job.path, "start": turn.start, "end": turn.end, "kind": "alert", "detail": alert.text})
        self.alerts += turn.end is None
        return turn.end is None

    def _keep(self, at: float, value: float) -> None:
        self._times.append(at)
        self._values.append(value)
        if len(self._times) >= 2 * POOLED:
            del self._times[:POOLED], self._values[:POOLED]

    def _write_metrics(self, *, now: bool = False) -> None:
        if self.metrics:
            counts = {
                "declip_frames_total": self.watch.frames,
                "declip_dropped_total": self.handover.dropped,
                "declip_freeze_seconds_total": self.watch.frozen,
                "declip_last_frame_timestamp_seconds": self.watch.arrived,
            }
            self.metrics.write(self.heads, counts, now=now)


_printing = threading.Lock()


def print_line(row: dict[str, Any]) -> None:
    """A line of JSON on stdout, at once: both threads print."""
    with _printing:
        print(json.dumps(row), flush=True)


def print_event(path: str, event: Event) -> None:
    print_line({"path": records.key(path), **asdict(event)})


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """The stream, unbuffered: a thread that is still reading at exit must hold no lock of a buffer."""
    if path == STDIN and sys.stdin is None:
        raise ConfigError("standard input is closed; pipe frames in")
    try:
        stream = open(0 if path == STDIN else path, "rb", buffering=0, closefd=path != STDIN)  # noqa: SIM115
    except OSError as error:
        raise ConfigError(f"cannot open {path}: {error.strerror}") from error
    yield stream


@contextmanager
def _stopped_by(number: signal.Signals, stop: Any) -> Iterator[None]:
    """While it lasts, the signal calls `stop`, and a second one ends the process."""

    def handle(*_: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop()

    before = signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, before)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give one such as 1920x1080")
    return int(match[1]), int(match[2])


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time between samples; give seconds, such as 0.5 or 2s")
    return seconds
