"""Builds I&2T data from photos without faults: `python -m train.i2t.synthetic --data DATA --out DATA/i2t.jsonl`.

Each photo gets variants with distortions of known kind and strength, from which a grammar writes the perceptual texts;
the photo's label becomes the semantic ones.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from declip_rt.errors import ConfigError, DeclipError
from train import texts
from train.distortions import KINDS, Distortion
from train.i2t.manifest import Images, Row, edited, write
from train.photos import Photo, photos

SEMANTIC = 2  # semantic texts of a row, besides a gloss
FAINTEST = 0.8  # the least strength that is drawn: 1 is just visible


def build(data: Path, variants: int, seed: int, split: str = "train", texts_each: int = 3) -> Iterator[Row]:
    """`variants` rows for each pristine photo of the split, with images named from `data` on.

    A row has `texts_each` perceptual texts, two semantic ones, and the gloss of a label that ImageNet knows. Photos are
    distorted in parallel; each draws from numbers of its own, so that their order is none of the threads' doing.
    """
    listed = photos(data, "pristine", split)
    write = partial(_rows, data=data, variants=variants, seed=seed, texts_each=texts_each)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for rows in pool.map(write, range(len(listed)), listed):
            yield from rows


def _rows(number: int, photo: Photo, *, data: Path, variants: int, seed: int, texts_each: int) -> list[Row]:
    rng, images = np.random.default_rng((seed, 2, number)), Images(data)
    image = photo.path.relative_to(data).as_posix()
    clean, made = images.open(Row(image)), []
    for distortions in draw(variants, rng):
        drawn = int(rng.integers(2**32))
        measured = texts.measure(edited(clean, distortions, drawn))
        made.append(
            Row(
                image,
                perceptual=texts.comments(distortions, measured, rng, texts_each),
                semantic=texts.semantics(photo.label, rng, SEMANTIC),
                provenance="synthetic",
                attributes={name: round(value, 2) for name, value in measured.items()},
                edits=distortions,
                seed=drawn,
            )
        )
    return made


def draw(count: int, rng: np.random.Generator) -> list[tuple[Distortion, ...]]:
    """Distortions for one photo's variants. Half of them share one kind, so that strength must be told apart."""
    shared = rng.choice(list(KINDS))
    drawn: list[tuple[Distortion, ...]] = []
    for i in range(count):
        many = rng.choice(3, p=[0.12, 0.68, 0.2])
        kinds = rng.choice(list(KINDS), many, replace=False) if i % 2 else [shared]
        drawn.append(tuple(Distortion(str(kind), min(rng.uniform(FAINTEST, 5.4), 5.0)) for kind in kinds))
    return drawn


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.i2t.synthetic", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="the data folder; train/README.md describes its layout"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSONL or Parquet, to be written into the data folder")
    parser.add_argument("--variants", type=int, default=8, help="of each photo (default: 8)")
    parser.add_argument("--texts", type=int, default=3, help="perceptual texts of each variant (default: 3)")
    parser.add_argument("--split", default="train", choices=("train", "val", "test"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        if options.out.resolve().parent != options.data.resolve():
            raise ConfigError(f"a manifest names images from its own folder on; write it into {options.data}")
        if not options.data.is_dir():
            raise ConfigError(f"--data {options.data} is no folder; train/README.md describes its layout")
        for name in ("variants", "texts"):
            if getattr(options, name) < 1:
                raise ConfigError(f"--{name} must be at least 1, not {getattr(options, name)}")
        made = list(build(options.data, options.variants, options.seed, options.split, options.texts))
        write(options.out, made)
        print(f"{len(made)} rows in {options.out}, of the {options.split} split of the photos without faults")
    except DeclipError as error:
        print(f"synthetic: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
