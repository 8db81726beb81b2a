"""How fast `declip-rt video` is, and how much memory it takes: `python -m benchmarks.video_speed [--long MINUTES]`.

A clip of 1080p, panned photos with film grain, by x264 with a key frame every 2 s. The bar is what decoding all of it,
converting the samples and scoring them take by themselves, in CPU time, over the cores.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from PIL import Image

from benchmarks.clips import CLEAN
from declip_rt import Scorer, VideoScorer
from declip_rt.bench.machine import Machine, peak_memory
from declip_rt.stats import cores
from declip_rt.video.pixels import Pixels
from declip_rt.video.reader import Reader

SIZE, FPS, GOP, SECONDS = (1920, 1080), 30, 60, 60
UVQ = 0.75  # sampled frames a second, decoding included, on 2 cores: UVQ 1.5's README
REPEATS = 3
DENSE = 0.25  # seconds between samples where memory is measured: a short clip fills the lanes, too


def write(file: Path, seconds: int) -> None:
    """The clip."""
    rng = np.random.default_rng(0)
    grain = [rng.integers(-6, 7, (SIZE[1], SIZE[0], 1), np.int8) for _ in range(5)]
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", FPS, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *SIZE, "yuv420p", GOP
        stream.time_base = Fraction(1, FPS)
        for number, rgb in enumerate(_pictures(seconds)):
            noisy = np.clip(rgb.astype(np.int16) + grain[number % len(grain)], 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="rgb24")))
        container.mux(stream.encode(None))


def _pictures(seconds: int) -> Iterator[np.ndarray]:
    for shot in range(-(-seconds // 5)):
        with Image.open(CLEAN[shot % len(CLEAN)]) as opened:
            photo = np.asarray(opened.convert("RGB").resize((SIZE[0] + 160, SIZE[1] + 160)))
        for at in range(5 * FPS):
            yield photo[at // 2 : at // 2 + SIZE[1], at : at + SIZE[0]]


def repeated(file: Path, times: int, made: Path) -> None:
    """The clip `times` times, one behind the other, as it was encoded."""
    with av.open(str(made), "w") as target:
        stream, offset = None, 0
        for _ in range(times):
            with av.open(str(file)) as source:
                stream = stream or target.add_stream_from_template(source.streams.video[0])
                length = source.streams.video[0].duration
                for packet in source.demux(video=0):
                    if packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, stream
                        target.mux(packet)
                offset += length


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """The least CPU and wall seconds of REPEATS."""
    found = []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(cpu for cpu, _ in found), min(wall for _, wall in found)


def decode(file: Path) -> list[av.VideoFrame]:
    """All of it, of which a picture a second is kept."""
    with av.open(str(file)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return [frame for i, frame in enumerate(container.decode(video=0)) if i % FPS == 0]


def speed(file: Path) -> Iterator[str]:
    """The lines of the table."""
    frames, pixels = decode(file), Pixels()
    pictures = [pixels.convert(frame) for frame in frames]
    with Scorer(device="cpu") as scorer:
        videos = VideoScorer(scorer)
        videos.score(file, end=10.0)
        decoding, alone = spent(lambda: decode(file))
        converting, _ = spent(lambda: [pixels.convert(frame) for frame in frames])
        scoring, _ = spent(lambda: list(scorer.score_many(pictures)))
        signals, _ = spent(lambda: sum(1 for _ in _samples(file)))
        cpu, wall = spent(lambda: videos.score(file))
        keys, key_wall = spent(lambda: videos.score(file, keyframes=True))
        key_reading, _ = spent(lambda: sum(1 for _ in _samples(file, keyframes=True)))
    parts = decoding + converting + scoring
    yield f"| decoding {SECONDS} s, CPU, wall | {decoding:.2f} s, {alone:.2f} s |"
    yield f"| converting {len(frames)} samples, CPU | {converting:.2f} s |"
    yield f"| scoring them, CPU | {scoring:.2f} s |"
    yield f"| reading with cuts, freezes and black, CPU | {signals:.2f} s |"
    yield f"| `VideoScorer.score`, CPU, wall | {cpu:.2f} s, {wall:.2f} s |"
    yield f"| its CPU against decoding + converting + scoring | {cpu / parts:.2f} |"
    yield f"| its wall against those over {cores()} cores | {wall * cores() / parts:.2f} |"
    yield f"| decoding alone: its wall against its CPU over {cores()} cores | {alone * cores() / decoding:.2f} |"
    rate = len(frames) / wall
    yield f"| sampled frames/s, against UVQ 1.5's published {UVQ} | {rate:.1f}, {rate / UVQ:.0f} times |"
    yield f"| reading by `keyframes`, CPU; times as fast | {key_reading:.2f} s, {signals / key_reading:.1f} |"
    yield f"| scoring by `keyframes`, CPU, wall | {keys:.2f} s, {key_wall:.2f} s |"


def _samples(file: Path, *, keyframes: bool = False) -> Iterator[object]:
    with Reader(file, keyframes=keyframes) as reader:
        yield from reader.samples()


def peak(file: Path) -> float:
    """MB at the most, of a process that scores the file."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.video_speed", "--peak", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def memory(file: Path, most: int) -> Iterator[str]:
    """The lines of the table, of clips up to `most` minutes."""
    short, long = file.with_name("short.mp4"), file.with_name("long.mp4")
    write(short, 10)
    repeated(file, most, long)
    for name, each in (("10 s", short), ("1 min", file), (f"{most} min", long)):
        yield f"| most memory, {name}, {1 / DENSE:g} samples a second | {peak(each):.0f} MB |"


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.video_speed", description=__doc__)
    parser.add_argument("--long", type=int, default=10, metavar="MINUTES", help="of the longest clip (default: 10)")
    parser.add_argument("--only", choices=("speed", "memory"), help="one of the two")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        with Scorer(device="cpu") as scorer:
            VideoScorer(scorer).score(options.peak, every=DENSE)
        print(peak_memory())
        return 0
    clip = f"{SECONDS} s of {SIZE[0]}x{SIZE[1]}, {FPS} a second, a key frame every {GOP // FPS} s; a sample a second"
    print(f"`python -m benchmarks.video_speed`, {datetime.date.today()}, {Machine.here()}; {clip}.\n")
    print("| | |\n|---|---|")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "clip.mp4"
        write(file, SECONDS)
        if options.only in (None, "speed"):
            for line in speed(file):
                print(line, flush=True)
        if options.only in (None, "memory"):
            for line in memory(file, options.long):
                print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
