"""Builds I&2T data from photos without faults: `python -m train.i2t.synthetic --data DATA --out DATA/i2t.jsonl`.

Each photo gets variants with distortions of known kind and strength, from which a grammar writes the perceptual text;
the photo's label becomes the semantic one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from declip_rt.errors import ConfigError, DeclipError
from train import texts
from train.distortions import KINDS, Distortion
from train.i2t.manifest import Images, Row, write
from train.photos import photos


def build(data: Path, variants: int, seed: int, split: str = "train") -> Iterator[Row]:
    """`variants` rows for each pristine photo of the split, with images named from `data` on."""
    rng, images = np.random.default_rng((seed, 2)), Images(data)
    for photo in photos(data, "pristine", split):
        image = photo.path.relative_to(data).as_posix()
        for distortions in draw(variants, rng):
            drawn = int(rng.integers(2**32))
            rgb = images.open(Row(image, edits=distortions, seed=drawn))
            yield Row(
                image,
                perceptual=(texts.perceptual(texts.looks(rgb, distortions, rng), rng),),
                semantic=(texts.semantic(photo.label, rng),) if photo.label else (),
                provenance="synthetic",
                attributes={name: round(value, 2) for name, value in texts.measure(rgb).items()},
                edits=distortions,
                seed=drawn,
            )


def draw(count: int, rng: np.random.Generator) -> list[tuple[Distortion, ...]]:
    """Distortions for one photo's variants. Half of them share one kind, so that strength must be told apart."""
    shared = rng.choice(list(KINDS))
    drawn: list[tuple[Distortion, ...]] = []
    for i in range(count):
        many = rng.choice(3, p=[0.12, 0.68, 0.2])
        kinds = rng.choice(list(KINDS), many, replace=False) if i % 2 else [shared]
        drawn.append(tuple(Distortion(str(kind), min(rng.uniform(0.5, 5.4), 5.0)) for kind in kinds))
    return drawn


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.i2t.synthetic", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="the data folder; train/README.md describes its layout"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSONL or Parquet, to be written into the data folder")
    parser.add_argument("--variants", type=int, default=8, help="of each photo (default: 8)")
    parser.add_argument("--split", default="train", choices=("train", "val", "test"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        if options.out.resolve().parent != options.data.resolve():
            raise ConfigError(f"a manifest names images from its own folder on; write it into {options.data}")
        if not options.data.is_dir():
            raise ConfigError(f"--data {options.data} is no folder; train/README.md describes its layout")
        if options.variants < 1:
            raise ConfigError(f"--variants must be at least 1, not {options.variants}")
        made = list(build(options.data, options.variants, options.seed, options.split))
        write(options.out, made)
        print(f"{len(made)} rows in {options.out}, of the {options.split} split of the photos without faults")
    except DeclipError as error:
        print(f"synthetic: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
