"""What `--decode-scale auto` does to scores: `python -m benchmarks.decode_scale [--data DIR]`.

Large photos, from DIR/photos_4k or generated, each undistorted and under every kind of distortion at two strengths,
are scored from their full decoding and from that at a part of their size.
"""

from __future__ import annotations

import argparse
import datetime
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr

from benchmarks import peers
from declip_rt import Bundle, Scorer
from declip_rt.bench.machine import Machine
from declip_rt.images.load import DecodeScale
from train.distortions import KINDS, Distortion, distort

STRENGTHS = (2, 5)


def variants(photos: list[str]) -> Iterator[bytes]:
    """As JPEG of quality 95 without subsampling, so that the encoding adds little."""
    rng = np.random.default_rng(0)
    for path in photos:
        rgb = np.asarray(Image.open(path).convert("RGB"))
        faults = (Distortion(kind, strength) for kind in KINDS for strength in STRENGTHS)
        for varied in (rgb, *(distort(rgb, fault, rng) for fault in faults)):
            buffer = io.BytesIO()
            Image.fromarray(varied).save(buffer, "JPEG", quality=95, subsampling=0)
            yield buffer.getvalue()


def table(bundle: Bundle, encoded: list[bytes]) -> str:
    full, scaled = (scores(bundle, encoded, name) for name in ("full", "auto"))
    lines = ["| | SRCC with full | median change | 95 % below | largest |", "|---|---|---|---|---|"]
    for head, ours, reference in zip(bundle.heads, scaled.T, full.T, strict=True):
        change = np.abs(ours - reference)
        spread = " | ".join(f"{value:.4f}" for value in np.quantile(change, (0.5, 0.95, 1)))
        lines.append(f"| {head.name} | {spearmanr(ours, reference).statistic:.4f} | {spread} |")
    return "\n".join(lines)


def scores(bundle: Bundle, encoded: list[bytes], decode_scale: DecodeScale) -> NDArray[np.float64]:
    """(n, K)"""
    with Scorer(bundle.path, "cpu", precision="fp32", decode_scale=decode_scale) as scorer:
        return np.array([[score[head.name] for head in bundle.heads] for score in scorer.score_many(encoded)])


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.decode_scale", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data folder; without it, photos are generated")
    parser.add_argument("--model", metavar="BUNDLE", help="default: the embedded model")
    parser.add_argument("--photos", type=int, default=4, help="how many (default 4)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there, as Markdown")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        photos = peers.photos(options.data, Path(folder))["8 megapixels"][: options.photos]
        encoded = list(variants(photos))
    bundle = Bundle(options.model)
    source = "from --data" if options.data else "generated"
    text = (
        f"# What --decode-scale auto does to scores\n\n`python -m benchmarks.decode_scale`, {datetime.date.today()}, "
        f"{Machine.here()}; {bundle.name}, fp32; {options.photos} photos of 8 megapixels ({source}) and their "
        f"distorted variants, {len(encoded)} in all.\n\n{table(bundle, encoded)}\n"
    )
    print(text)
    if options.out:
        options.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
