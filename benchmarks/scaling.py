"""How declip-rt's cost grows on a CPU: `python -m benchmarks.scaling [--out DIR]`.

With the size of the photos, with the numbers of workers and threads, and with the number of files. The model is the
embedded one; photos are generated.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

from benchmarks import peers
from benchmarks.contenders import LIMIT, OURS
from declip_rt import Bundle, Scorer
from declip_rt.bench.machine import Machine
from declip_rt.output import plot

MEGAPIXELS = (0.25, 0.5, 1, 2, 4, 8, 12, 24)
PHOTOS = 32  # a pass
SHOWN = (
    f"{OURS}, fp32",
    f"{OURS}, fp32, --decode-scale auto",
    "ONNX Runtime by hand, Pillow, batch 8",
    LIMIT,
)
WORKERS, THREADS = (1, 2, 4), (1, 2, 4)
COUNTS = {"500x500": 192, "8 megapixels": 48}  # photos a pass, for each of them
FILES = (100, 1000, 10_000)
MANY = 1_000_000  # files, of which only the first is awaited


def by_size(folder: Path) -> dict[str, list[float]]:
    """images/s at each of MEGAPIXELS, by contender."""
    sets = {}
    for size in MEGAPIXELS:
        height = round((size * 1e6 * 3 / 4) ** 0.5)
        files = list(peers.generated(folder, (height * 4 // 3, height)))
        sets[f"{size:g}"] = [str(files[i % len(files)]) for i in range(PHOTOS)]
    found = {}
    for name in SHOWN:
        result = peers.measure(name, folder, Bundle().path, sets)
        found[name] = [statistics.median(result[what]) for what in sets]
        print(name, [round(speed, 1) for speed in found[name]], flush=True)
    return found


def draw(path: Path, speeds: dict[str, list[float]]) -> None:
    with plot.axes_in(path) as axes:
        for name, row in speeds.items():
            axes.loglog(MEGAPIXELS, row, marker=".", linestyle="--" if name == LIMIT else "-", label=name)
        axes.set_xticks(MEGAPIXELS, [f"{size:g}" for size in MEGAPIXELS])
        axes.minorticks_off()
        axes.set_xlabel("megapixels")
        axes.set_ylabel("images/s")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend(fontsize=8, frameon=False)


def by_threads(paths: list[str]) -> dict[tuple[int, int], float]:
    """images/s by workers and threads."""
    found = {}
    for workers, threads in product(WORKERS, THREADS):
        with Scorer(device="cpu", workers=workers, threads=threads) as scorer:
            list(scorer.score_many(paths))
            began = time.perf_counter()
            list(scorer.score_many(paths))
            found[workers, threads] = len(paths) / (time.perf_counter() - began)
    return found


def linked(folder: Path, photos: list[Path], count: int) -> Path:
    """A folder of `count` links to copies of the photos: each file of its own, and little on disk."""
    folder.mkdir()
    for i in range(count):
        if i % 50_000 < len(photos):  # a file takes only so many links
            source = folder / f"{i:07}.jpg"
            source.write_bytes(photos[i % len(photos)].read_bytes())
            first = i - i % 50_000
        else:
            os.link(folder / f"{first + i % len(photos):07}.jpg", folder / f"{i:07}.jpg")
    return folder


def score(folder: Path) -> tuple[float, float]:
    """Seconds until the first row of `declip-rt score`, and until its end."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "declip_rt", "score", str(folder), "--out", "-", "--quiet", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=peers.ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - began
        if len(os.listdir(folder)) == MANY:
            process.terminate()
        process.stdout.read()
    return first, time.perf_counter() - began


def sections(folder: Path, out: Path) -> str:
    speeds = by_size(folder)
    draw(out / "cpu-scaling.png", speeds)
    lines = [
        "## Size of the photos\n\n![images/s by megapixels](cpu-scaling.png)\n",
        f"| images/s at | {' | '.join(f'{size:g} MP' for size in MEGAPIXELS)} |",
        "|---|" + "---|" * len(MEGAPIXELS),
        *(f"| {name} | {' | '.join(f'{each:.1f}' for each in row)} |" for name, row in speeds.items()),
    ]
    for what, count in COUNTS.items():
        files = list(peers.generated(folder, peers.SIZES[what]))
        found = by_threads([str(files[i % len(files)]) for i in range(count)])
        lines += [
            f"\n## Workers and threads, {what}\n",
            f"| images/s with | {' | '.join(f'--threads {threads}' for threads in THREADS)} |",
            "|---|" + "---|" * len(THREADS),
        ]
        for workers in WORKERS:
            lines.append(f"| --workers {workers} | {' | '.join(f'{found[workers, t]:.1f}' for t in THREADS)} |")
    lines += [
        "\n## Number of files, 500x500\n",
        "| files | first row after | all after | images/s |",
        "|---|---|---|---|",
    ]
    photos = list(peers.generated(folder, (500, 500)))
    for count in (*FILES, MANY):
        first, whole = score(linked(folder / f"files-{count}", photos, count))
        rest = f"{whole:.1f} s | {count / whole:.1f}" if count != MANY else "- | -"
        lines.append(f"| {count:,} | {first:.2f} s | {rest} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), metavar="DIR")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = sections(Path(folder), options.out)
    title = (
        f"# How the cost grows on a CPU\n\n`python -m benchmarks.scaling`, {datetime.date.today()}, {Machine.here()}."
    )
    text = f"{title}\nThe embedded model, fp32, from files to scores.\n\n{text}\n"
    print(text)
    (options.out / "cpu-scaling.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
