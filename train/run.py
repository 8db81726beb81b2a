"""Trains a model from a configuration: `python -m train.run CONFIG.toml --data DIR --out RUN`.

Ends with `RUN/declip.pt`, which `python -m export` turns into a bundle. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from declip_rt.errors import ConfigError, DeclipError
from train import declip, heads, lit, readers, texts
from train.config import Config
from train.features import Encoder
from train.i2t import classes, synthetic
from train.i2t.manifest import Images, Row, read
from train.judge import judge
from train.loop import keep_log
from train.model import create, save
from train.photos import photos
from train.pretrained import classifier
from train.rated import SCALES, rated
from train.rated import rows as ratings

log = logging.getLogger("train.run")
UNKNOWN = ("a photo",)  # what is said of a rated photo that shows nothing sure
SURE = 0.5  # the probability from which on a class is believed


def train(config_file: Path, data: Path | None, out: Path, manifest: Path | None = None) -> Path:
    """Runs the three stages and returns the checkpoint's path.

    Stages 1 and 2 learn from `manifest`, or from texts made for `data`; stage 3 from the ratings of `data` and of the
    configuration's sets. One of `data` and `manifest` is needed.

    Raises:
        DeclipError: the configuration or the data are not as they must be, or the training diverged.
    """
    if "WORLD_SIZE" in os.environ:
        raise ConfigError("torchrun is for stage 2 alone, python -m train.declip; start python -m train.run as it is")
    config = Config.read(config_file)
    _check(config, data, manifest)
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    model = create(config, config_file.parent)
    rows = read(manifest) if manifest else texts_and_scores(config, data)
    images = Images(manifest.parent if manifest else data)
    log.info("%d rows after %.0f s", len(rows), time.monotonic() - began)
    encode = Encoder(model, images, config.views, out / "features", config.clip.workers)
    lit.lock(model, config, rows, encode, out)
    if not manifest:
        rows = judge(rows, rated(encode, config.features, data, config.seed, config.heads.sets), encode, config)
    lit.train(model, config, rows, encode, out)
    log.info("stage 1 ended after %.0f s", time.monotonic() - began)
    declip.train(model, config, rows, images, out)
    log.info("stage 2 ended after %.0f s", time.monotonic() - began)
    encode = Encoder(model, Images(data or out), config.views, out / "features", config.declip.workers)
    calibration = heads.train(model, config, rated(encode, config.features, data, config.seed, config.heads.sets))
    checkpoint = out / "declip.pt"
    save(checkpoint, config, model, calibration)
    log.info("%s written after %.0f s", checkpoint, time.monotonic() - began)
    return checkpoint


def _check(config: Config, data: Path | None, manifest: Path | None) -> None:
    """Finds what is missing before the training, not after it."""
    if data is None and manifest is None:
        raise ConfigError("there is nothing to learn from: give --data, or --manifest (train/README.md says what)")
    for some in config.heads.sets:
        readers.read(some.reader, Path(some.folder))
    if data is None and not config.heads.sets:
        raise ConfigError(
            "the heads have no ratings to learn from: give --data, or [[heads.sets]] in the configuration"
        )


def texts_and_scores(config: Config, data: Path) -> list[Row]:
    """Distorted pristine photos with the texts that say how; photos as they are with their scores; what all show."""
    made = [*synthetic.build(data, config.features.variants, config.seed), *_shown(data, config.seed)]
    network = classifier("efficientnet_lite0")
    named = classes.name(made, Images(data), network, SURE, "efficientnet_lite0")
    return [msgspec.structs.replace(row, semantic=row.semantic or UNKNOWN) if row.scores else row for row in named]


def _shown(data: Path, seed: int) -> Iterator[Row]:
    """Rated and labelled photos as they are."""
    rng = np.random.default_rng((seed, 6))
    for name in (*SCALES, "coco"):
        for photo, row in zip(photos(data, name, "train"), ratings(data, name, "train"), strict=True):
            labels = (photo.label, photo.category.lower())
            shows = tuple(text for label in labels for text in texts.semantics(label, rng, synthetic.SEMANTIC))
            yield msgspec.structs.replace(row, semantic=shows)


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.run", description=__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument("--data", type=Path, help="the data folder; train/README.md describes its layout")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder: log, checkpoints, declip.pt")
    parser.add_argument(
        "--manifest", type=Path, metavar="I2T.jsonl", help="images and their two texts, for stages 1 and 2"
    )
    options = parser.parse_args()
    keep_log(options.out)
    try:
        train(options.config, options.data, options.out, options.manifest)
    except DeclipError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
