"""Trains a model from a configuration: `python -m train.run CONFIG.toml --data DIR --out RUN`.

Ends with `RUN/declip.pt`, which `python -m export` turns into a bundle. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from declip_rt.errors import DeclipError
from train import clip, declip, heads
from train.config import Config
from train.features import features
from train.model import build, save

log = logging.getLogger("train.run")


def train(config_file: Path, data: Path, out: Path) -> Path:
    """Runs the three stages and returns the checkpoint's path."""
    config = Config.read(config_file)
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    tower = clip.train(config.clip, config_file.parent, data, out, config.seed)
    log.info("stage 1 took %.0f s", time.monotonic() - began)
    model = build(config, tower)
    cached = features(model, config.features, config.views, data, out, config.seed)
    declip.train(model, config, cached)
    calibration = heads.train(model, config, cached)
    checkpoint = out / "declip.pt"
    save(checkpoint, config, model, calibration)
    log.info("%s written after %.0f s", checkpoint, time.monotonic() - began)
    return checkpoint


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.run", description=__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument(
        "--data", type=Path, required=True, help="the data folder; train/README.md describes its layout"
    )
    parser.add_argument("--out", type=Path, required=True, help="the run's folder: log, checkpoints, declip.pt")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(name)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(options.out / "log.txt")],
    )
    logging.getLogger("train").setLevel(logging.INFO)
    try:
        train(options.config, options.data, options.out)
    except DeclipError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
