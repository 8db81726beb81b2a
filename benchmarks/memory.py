"""Peak memory of scoring few and many photos: `python benchmarks/memory.py [--few 50] [--many 5000]`.

Writes distinct photos of 1024x768 to a temporary folder, scores them with `declip-rt score` in a process of its own,
and prints each run's peak resident memory and their difference; exit code 1 where that is over LIMIT.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

LIMIT = 20  # MB


def write_photos(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for i in range(count):
        small = Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8))
        small.resize((1024, 768), Image.Resampling.BICUBIC).save(folder / f"{i:05}.jpg", quality=85)


def peak(photos: list[Path], folder: Path) -> float:
    """Peak resident memory of scoring the photos, in MB (10**6 bytes)."""
    listed = folder / "list.txt"
    listed.write_text("\n".join(map(str, photos)))
    command = [sys.executable, "-m", "declip_rt", "score", "--list", str(listed), "--out", str(folder / "out.jsonl")]
    process = os.posix_spawn(
        sys.executable,
        [*command, "--quiet"],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("declip-rt score failed")
    return usage.ru_maxrss * 1024 / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=50)
    parser.add_argument("--many", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder, options.many)
        photos = sorted(folder.glob("*.jpg"))
        few, many = peak(photos[: options.few], folder), peak(photos, folder)
    print(f"{options.few} photos: {few:.0f} MB; {options.many} photos: {many:.0f} MB; difference {many - few:.0f} MB")
    return int(many - few > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
