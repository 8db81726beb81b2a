"""Trains a model from a configuration: `python -m train.run CONFIG.toml --data DIR --out RUN`.

Ends with `RUN/declip.pt`, which `python -m export` turns into a bundle. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path

from declip_rt.errors import ConfigError, DeclipError
from train import clip, declip, heads, lit, readers
from train.config import Config
from train.features import Encoder, features, rows
from train.i2t import synthetic
from train.i2t.manifest import Images, Row, read
from train.loop import keep_log
from train.model import build, save

log = logging.getLogger("train.run")


def train(config_file: Path, data: Path, out: Path, manifest: Path | None = None) -> Path:
    """Runs the three stages and returns the checkpoint's path. Stage 2 learns from `manifest`, or from texts made here.

    Raises:
        DeclipError: the configuration or the data are not as they must be, or the training diverged.
    """
    if "WORLD_SIZE" in os.environ:
        raise ConfigError("torchrun is for stage 2 alone, python -m train.declip; start python -m train.run as it is")
    config = Config.read(config_file)
    for some in config.heads.sets:
        readers.read(some.reader, Path(some.folder))  # better missed before the training than after it
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    model = build(config, clip.load(config.clip, config_file.parent))
    rows, images = (
        (read(manifest), Images(manifest.parent)) if manifest else (texts_and_scores(config, data), Images(data))
    )
    log.info("%d rows after %.0f s", len(rows), time.monotonic() - began)
    lit.train(model, config, rows, Encoder(model, images, config.views, out / "features", config.clip.workers), out)
    log.info("stage 1 ended after %.0f s", time.monotonic() - began)
    declip.train(model, config, rows, images, out)
    log.info("stage 2 ended after %.0f s", time.monotonic() - began)
    encode = Encoder(model, Images(data), config.views, out / "features", config.declip.workers)
    calibration = heads.train(model, config, features(encode, config.features, data, config.seed, config.heads.sets))
    checkpoint = out / "declip.pt"
    save(checkpoint, config, model, calibration)
    log.info("%s written after %.0f s", checkpoint, time.monotonic() - began)
    return checkpoint


def texts_and_scores(config: Config, data: Path) -> list[Row]:
    """Distorted pristine photos with the texts that say how, and photos with scores."""
    described = synthetic.build(data, config.features.variants, config.seed)
    return [*described, *rows(data, "mos", "train"), *rows(data, "beauty", "train")]


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.run", description=__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument(
        "--data", type=Path, required=True, help="the data folder; train/README.md describes its layout"
    )
    parser.add_argument("--out", type=Path, required=True, help="the run's folder: log, checkpoints, declip.pt")
    parser.add_argument("--manifest", type=Path, metavar="I2T.jsonl", help="images and their two texts, for stage 2")
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
