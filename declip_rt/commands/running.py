"""What every command that scores can be told: which model, where, and how fast."""

from __future__ import annotations

import argparse
import io
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

import msgspec
from tqdm import tqdm

from declip_rt.backends.contract import DEVICES, GPU_BATCH, HOST_BATCH, EngineOptions, Precision
from declip_rt.images.load import DecodeScale
from declip_rt.output.terminal import printable
from declip_rt.prompts import Prompts
from declip_rt.scorer import Decoder, Scorer
from declip_rt.workers import TIMEOUT

EXIT_CODES = (
    "exit codes: 0 all scored; 1 some inputs failed or scored below --fail-below; 2 the command could not run or write"
)
LINE_EVERY = 30  # seconds between lines that tell how far a run is
logger = logging.getLogger(__name__)
Options = TypeVar("Options")


def add_batch_options(parser: argparse.ArgumentParser) -> None:
    """Those of how the images are computed together."""
    add = parser.add_argument
    add(
        "--batch", type=int, metavar="N", help=f"images computed together (default: {HOST_BATCH}; on a GPU {GPU_BATCH})"
    )
    add("--lanes", type=int, metavar="N", help="batches in flight on a GPU (default: tensorrt 4, cuda 2)")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of the model and its engine, and of how images are decoded."""
    add_engine_options(parser)
    add_image_options(parser)


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Those of how files of images are decoded."""
    add = parser.add_argument
    add(
        "--decode-scale",
        default="full",
        choices=get_args(DecodeScale),
        help="auto: decode large JPEGs at 1/2, 1/4 or 1/8 of their size where the views need no more; faster, and "
        "scores differ slightly (default: full)",
    )
    add(
        "--memory",
        type=_bytes,
        metavar="SIZE",
        help="that images of many pixels share while they are decoded, such as 8G; one that needs more gets an error "
        "(default: half of what the process may use)",
    )
    add(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help="an image that takes longer to read and decode gets an error (default: %(default)g)",
    )
    add("--no-icc", dest="icc", action="store_false", help="take pixels as sRGB, whatever color profile they have")
    add("--strict", action="store_true", help="a damaged image gets an error, even where it has pixels to score")
    add(
        "--decoder",
        "--decode",
        dest="decoder",
        default="cpu",
        choices=get_args(Decoder),
        help="gpu: decode JPEGs by nvImageCodec on the GPU that scores (default: cpu)",
    )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Those of the model and its engine."""
    add = parser.add_argument
    add("--model", metavar="BUNDLE", help="a bundle's folder, or an embedded model's name (default: declip-tiny)")
    add("--device", default="auto", help=f"{DEVICES} (default: auto)")
    add(
        "--precision",
        default="auto",
        choices=get_args(Precision),
        help="auto (default): int8 or bf16 on a CPU that computes it faster, where the model proves that it scores as "
        "fp32 does; fp16 with TensorRT. fp8 is for TensorRT, with models that have such a graph",
    )
    add(
        "--recipe", metavar="NAME", help="how to build the TensorRT plan: fp16, fp32, fp8, rtx, portable or a TOML file"
    )
    add(
        "--workers",
        type=int,
        metavar="N",
        help="threads that read and decode (default: one a core; at least 32 with --decoder gpu)",
    )
    add("--threads", type=int, metavar="N", help="threads that compute on a CPU (default: one a core)")
    add("--quiet", action="store_true", help="nothing on stderr but errors")


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a command scores; the `--help` of `declip-rt score` says what each option means."""

    model: str | None = None
    device: str = EngineOptions.device
    batch: int | None = None
    workers: int | None = None
    threads: int | None = None
    decode_scale: DecodeScale = "full"
    memory: int | None = None
    icc: bool = True
    strict: bool = False
    timeout: float = TIMEOUT
    precision: Precision = EngineOptions.precision
    lanes: int | None = None
    recipe: str | None = None
    decoder: Decoder = "cpu"
    quiet: bool = False

    @property
    def engine(self) -> EngineOptions:
        """Raises ConfigError."""
        return EngineOptions(
            device=self.device,
            precision=self.precision,
            batch=self.batch,
            threads=self.threads,
            lanes=self.lanes,
            recipe=self.recipe,
        )

    def open(self, prompts: Sequence[Prompts] = ()) -> Scorer:
        """Raises what `Scorer` raises."""
        scorer = Scorer(
            self.model,
            self.device,
            prompts=prompts,
            batch=self.batch,
            workers=self.workers,
            threads=self.threads,
            decode_scale=self.decode_scale,
            memory=self.memory,
            icc=self.icc,
            strict=self.strict,
            timeout=self.timeout,
            precision=self.precision,
            lanes=self.lanes,
            recipe=self.recipe,
            decoder=self.decoder,
        )
        logger.info("model %s, device %s", scorer.bundle.name, scorer.engine)
        return scorer

    def progress(self, total: int | None, what: str = "images") -> tqdm[Any]:
        """A bar on stderr, or a line in LINE_EVERY seconds where that is no terminal; nothing where it is quiet."""
        if sys.stderr.isatty():
            return tqdm(total=total, unit=f" {what}", file=sys.stderr, disable=self.quiet, dynamic_ncols=True)
        return tqdm(
            total=total,
            unit=f" {what}",
            file=_Log(),
            disable=self.quiet,
            leave=False,
            delay=LINE_EVERY,
            mininterval=LINE_EVERY,
            maxinterval=LINE_EVERY,
            bar_format=f"{{n_fmt}} of {{total_fmt}} {what}, {{rate_fmt}}, {{remaining}} left" if total else None,
        )


def _bytes(text: str) -> int:
    """A number of bytes: 8G, 500M, 12345."""
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in ("K", "M", "G", "T") else (text, "B")
    try:
        size = int(float(number) * 1024 ** "BKMGT".index(unit))
    except (ValueError, OverflowError):
        size = 0
    if size < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give one such as 8G or 500M")
    return size


def parsed(options: argparse.Namespace, kind: type[Options]) -> Options:
    """A dataclass `kind` of the options that its fields name; its `running` and `inputs` are made of them, too."""
    given = vars(options)
    return msgspec.convert(given | {"running": given, "inputs": given}, kind)


def in_flags(message: str) -> str:
    """A message of the library, which names arguments (`batch`, `device="cpu"`), in the words of the command line."""

    def flag(match: re.Match[str]) -> str:
        return " ".join(part for part in ("--" + match[1].replace("_", "-"), match[2]) if part)

    return re.sub(r"`([a-z_]+)(?:=\"?([^`\"]*)\"?)?`", flag, message)


class _Log(io.TextIOBase):
    """A file on stderr for a progress bar: each of its states is a line."""

    def write(self, text: str) -> int:
        if line := text.strip():
            print(line, file=sys.stderr)
        return len(text)


class _Lines(logging.Handler):
    """Prints a record as a line on stderr, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(printable(in_flags(self.format(record))), file=sys.stderr)


@contextmanager
def hushed(quiet: bool) -> Iterator[None]:
    """While a quiet command runs, what libraries of C print on stderr goes nowhere; what Python prints stays."""
    try:
        stream, number = sys.stderr, sys.stderr.fileno()
    except (OSError, ValueError):  # it is no file
        quiet = False
    if not quiet:
        yield
        return
    stream.flush()
    kept, nowhere = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
    sys.stderr = os.fdopen(kept, "w", buffering=1, encoding=stream.encoding, errors=stream.errors)
    try:
        yield
    finally:
        os.dup2(kept, number)
        sys.stderr.close()
        sys.stderr = stream


@contextmanager
def printed_log(quiet: bool) -> Iterator[None]:
    """Prints what the package logs while a command runs, unless it is quiet."""
    log, handler = logging.getLogger("declip_rt"), _Lines()
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.CRITICAL if quiet else logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]
