"""`declip-rt bench` with torch among the rivals: `python -m benchmarks.bench --against torch --checkpoint FILE.pt`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.torch_rivals import TorchRival
from declip_rt.bench.rivals import Opener
from declip_rt.commands import bench, main
from declip_rt.commands.bench import Bench
from declip_rt.commands.running import parsed

NAMES = {"torch": False, "torch-compile": True}  # rival: whether it is compiled


def rivals(checkpoint: Path | None) -> Mapping[str, Opener]:
    """Those of `declip-rt bench`, and torch with the checkpoint."""
    named = {name: TorchRival(name, checkpoint, compiled) for name, compiled in NAMES.items()}
    return {**named, **bench.RIVALS}


def measure(options: argparse.Namespace) -> int:
    return replace(parsed(options, Bench), rivals=rivals(options.checkpoint)).run()


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.bench")
    bench.add_options(parser)
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE.pt", help="for torch: what the model was exported from"
    )
    parser.set_defaults(command=measure)
    return main.run(parser, arguments)


if __name__ == "__main__":
    sys.exit(run())
