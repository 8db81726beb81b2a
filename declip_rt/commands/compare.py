"""`declip-rt video SOURCE ENCODE... --compare`: a row an encode."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

from declip_rt.commands.running import Running, in_flags
from declip_rt.errors import ConfigError, ImageError
from declip_rt.model.bundle import Bundle
from declip_rt.output import files, target
from declip_rt.output.records import Columns, Record, run_of
from declip_rt.output.terminal import printable, shorten
from declip_rt.video.book import STDOUT
from declip_rt.video.compare import Comparer, Comparison
from declip_rt.video.fidelity import average
from declip_rt.video.timeline import pool
from declip_rt.video.verdict import FEWEST, bootstrap, judge

logger = logging.getLogger(__name__)
WORST = 3  # seconds that a row names
MOST_OF = 0.9  # of a source: where less was compared it is said
NAME = 32  # columns of text


def compare(
    running: Running,
    paths: Sequence[str],
    *,
    every: float = 1.0,
    color: str = "auto",
    allow_network: bool = False,
    summary: str | None = None,
    overwrite: bool = False,
) -> int:
    """Compares all but the first of `paths` with the first. Prints a table, and writes the rows to `summary`.

    every, color, allow_network: as those of Reader. summary: a file of target.ROWS, or - for JSON lines in place of
    the table.
    Returns the exit code: 1 where an encode could not be compared. Raises ConfigError.
    """
    if len(paths) < 2:
        raise ConfigError("--compare takes a source and its encodes: declip-rt video SOURCE A B --compare")
    out = None if summary in (None, STDOUT) else target.place("--summary", summary or "", target.ROWS)
    list(target.spare(paths, [out] if out else []))
    if out and files.is_begun(out) and not overwrite:
        raise ConfigError(f"{summary} has rows: --overwrite starts again")
    failed = False
    with target.locked(out) if out else nullcontext(), running.open() as scorer:
        run = run_of(scorer.bundle, scorer.engine.precision)
        columns = columns_of(scorer.bundle)
        sinks: list[files.Sink] = [files.open_file(out, columns)] if out else []
        sinks.append(files.Stdout(columns) if summary == STDOUT else _Table(print))
        for row in _rows(Comparer(scorer, paths[0], every, color, allow_network), paths[1:]):
            record = columns.record(**row, **run)
            for sink in sinks:
                sink.write(record)
            failed = failed or row["error"] is not None
        for sink in sinks:
            sink.close()
    return 1 if failed else 0


def columns_of(bundle: Bundle) -> Columns:
    """Of the rows: `HEAD_delta` is the mean of encode less source, from `HEAD_low` to `HEAD_high` by the bootstrap."""
    heads = {f"{head.name}_{each}": float for head in bundle.heads for each in ("delta", "low", "high")}
    front = {"path": str, "source": str, "offset": float, "correlation": float, "duration": float, "samples": int}
    measured = dict.fromkeys(("hysteresis", "p5", "xpsnr", "ssim"), float)
    told = dict.fromkeys(("worst", "xpsnr_worst", "verdict", "error", "model", "bundle", "precision"), str)
    return Columns(front | measured | heads | told)


def _rows(comparer: Comparer, encodes: Sequence[str]) -> Iterator[Record]:
    """Yields the row of each encode once it is compared."""
    compared: list[Comparison] = []
    for path in encodes:
        row: Record = {"path": path, "source": str(comparer.source), "error": None}
        try:
            comparer.look()
        except ImageError as error:
            yield row | {"error": in_flags(f"its source, {comparer.source}: {error.reason}")}
            continue
        try:
            found = comparer.compare(path)
        except ImageError as error:
            yield row | {"error": in_flags(error.reason)}
            continue
        _tell(path, found, comparer.length)
        yield row | _measured(found) | {"verdict": judge(found, compared)}
        compared.append(found)


def _tell(path: str, found: Comparison, length: float) -> None:
    """Logs what a reader of the row has to know. length: of the source, in seconds."""
    offset, compared = found.offset.seconds, found.end - float(found.moments[0])
    if offset:
        lies = f"{abs(offset):.3f} s {'later' if offset > 0 else 'earlier'}"
        logger.info("%s: shows the same %s than its source", path, lies)
    if compared < MOST_OF * length:
        logger.warning("%s: %.1f of the %.1f s of its source were compared: it has no more", path, compared, length)
    if len(found.times) < FEWEST:
        logger.warning("%s: %d moments tell no difference; --every 0.25 takes more", path, len(found.times))


def _measured(found: Comparison) -> Record:
    pooled = pool(found.times, found.encode["technical"], found.end)
    heads = {
        f"{head}_{name}": value
        for head, delta in bootstrap(found.deltas).items()
        for name, value in zip(("delta", "low", "high"), delta, strict=True)
    }
    return heads | {
        "offset": found.offset.seconds,
        "correlation": found.offset.correlation,
        "duration": found.end - float(found.moments[0]),
        "samples": len(found.times),
        "hysteresis": pooled.hysteresis,
        "p5": pooled.p5,
        "xpsnr": average(found.xpsnr),
        "ssim": float(found.ssim.mean()),
        "worst": _listed(found.seconds_by_change()),
        "xpsnr_worst": _listed(found.seconds_by_xpsnr()),
    }


def _listed(seconds: Sequence[float]) -> str:
    return ", ".join(f"{round(each, 2):g}" for each in seconds[:WORST])


class _Table:
    """A line an encode."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        write(f"{'encode':<{NAME}}  {'technical, encode - source':<26}  XPSNR dB    SSIM  worst seconds      verdict")

    def write(self, row: Record) -> None:
        name = f"{shorten(printable(row['path']), NAME):<{NAME}}"
        if row["error"] is not None:
            self._write(f"{name}  error: {printable(row['error'])}")
            return
        change = f"{row['technical_delta']:+.3f} ({row['technical_low']:+.3f} to {row['technical_high']:+.3f})"
        measured = f"{row['xpsnr']:>8.2f}  {row['ssim']:.4f}  {row['worst'] or '-':<17}"
        self._write(f"{name}  {change:<26}  {measured}  {row['verdict']}")

    def close(self) -> None:
        """Nothing is held."""
