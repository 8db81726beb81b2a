"""Trains a DP-Adapter: `python -m train.dp_adapter CONFIG.toml --manifest I2T.jsonl --out RUN`.

Ends with `RUN/adapter`, which diffusers loads. A run that was stopped goes on where it was. `accelerate launch` or
`torchrun` starts it in several processes, each with its own GPU and batches.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from declip_rt.errors import DeclipError
from train import parallel
from train.dp_adapter.config import Config
from train.dp_adapter.run import train
from train.dp_adapter.sources import Source
from train.loop import keep_log


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.dp_adapter", description=__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    add_source(parser)
    parser.add_argument("--out", type=Path, required=True, help="the run's folder: log, caches, checkpoints, adapter")
    parser.add_argument("--pairs", choices=("crossed", "self"), help="overrides adapters.pairs")
    options = parser.parse_args()
    try:
        config = Config.read(options.config)
        if options.pairs:
            config = msgspec.structs.replace(
                config, adapters=msgspec.structs.replace(config.adapters, pairs=options.pairs)
            )
        with parallel.processes():
            keep_log(options.out)
            train(config, source_of(options), options.out)
    except DeclipError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    return 0


def add_source(parser: argparse.ArgumentParser) -> None:
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--manifest", type=Path, metavar="I2T.jsonl", help="its photos; their texts for a real base")
    given.add_argument("--data", type=Path, help="the data folder; train/README.md describes its layout")


def source_of(options: argparse.Namespace) -> Source:
    return Source.of_manifest(options.manifest) if options.manifest else Source.of_data(options.data)


if __name__ == "__main__":
    sys.exit(main())
