"""The command line: `declip-rt score | eval | calibrate | bench | doctor | models | build | plans`."""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from declip_rt import __version__
from declip_rt.commands import bench, doctor
from declip_rt.commands.calibrate import Recalibration
from declip_rt.commands.evaluate import Evaluation
from declip_rt.commands.running import add_batch_options, add_options, printed_log
from declip_rt.commands.score import Job
from declip_rt.errors import DeclipError
from declip_rt.model.bundle import Bundle, embedded
from declip_rt.model.manifest import Card

EXIT_CODES = "exit codes: 0 all scored; 1 some inputs failed or scored below --fail-below; 2 the command could not run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command of declip-rt and returns its exit code."""
    return run(_parser(), arguments)


def run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the parser names, and returns its exit code. Errors become one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # odd names must not stop a run
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we have our own limit
    options = vars(parser.parse_args(arguments))
    command = options.pop("command")
    try:
        with printed_log(options.get("quiet", False)):
            code: int = command(**options)
        sys.stdout.flush()
        return code
    except DeclipError as error:
        print(f"declip-rt: {in_flags(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe left, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        hint = "; a run with --out goes on with --resume" if "resume" in options else ""
        print(f"\ndeclip-rt: interrupted{hint}", file=sys.stderr)
        return 130


def in_flags(message: str) -> str:
    """A message of the library, which names arguments (`batch`, `device="cpu"`), in the words of the command line."""

    def flag(match: re.Match[str]) -> str:
        return " ".join(part for part in ("--" + match[1].replace("_", "-"), match[2]) if part)

    return re.sub(r"`([a-z_]+)(?:=\"?([^`\"]*)\"?)?`", flag, message)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("declip-rt", description="Image quality with DeCLIP.", epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"declip-rt {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_score(commands.add_parser("score", help="score images", description=_SCORE, epilog=EXIT_CODES))
    _add_eval(commands.add_parser("eval", help="measure agreement with rated photos", description=_EVAL))
    _add_calibrate(commands.add_parser("calibrate", help="map scores to your own MOS", description=_CALIBRATE))
    bench.add_options(commands.add_parser("bench", help="measure speed"))
    commands.add_parser("doctor", help="what is installed and found, and what is missing").set_defaults(command=_doctor)
    _add_models(commands.add_parser("models", help="list, show and verify models"))
    _add_build(commands.add_parser("build", help="build a TensorRT plan", description=_BUILD))
    _add_plans(commands.add_parser("plans", aliases=["engines"], help="list, show and remove built plans"))
    return parser


_SCORE = "Score images. Prints a table; --out and --html write files. Failed inputs become rows with an error."


def _add_score(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="a file, a folder (recursive), a glob, or - for paths on stdin")
    add(
        "--list",
        dest="listed",
        metavar="FILE",
        help="a text file with a path a line, or a CSV with a column path or image",
    )
    add(
        "--out",
        metavar="FILE",
        help="write rows to a .csv, .jsonl or .parquet file; - writes JSONL to stdout, not a table",
    )
    add("--html", type=Path, metavar="FILE", help="write a self-contained report with thumbnails")
    add(
        "--resume",
        action="store_true",
        help="keep the rows of --out whose file, model and prompts are unchanged, score the rest",
    )
    for option, what in (
        ("--prompts", "add a score of your own: how much nearer the photo's look is to HIGH than to LOW; repeatable"),
        ("--semantic-prompts", "the same of what the photo shows"),
    ):
        add(option, action="append", default=[], metavar="[NAME=]HIGH:LOW", help=what)
    add("--sort", metavar="COLUMN", help="sort the table by a column, highest first")
    add("--top", type=int, metavar="N", help="show only the N highest in the table (by --sort, else technical)")
    add("--bottom", type=int, metavar="N", help="show only the N lowest in the table; with --top, both ends")
    add("--fail-below", type=float, metavar="X", help="exit with 1 if a technical score is below X")
    add("--stats", action="store_true", help="print where the time went")
    add_options(parser)
    add_batch_options(parser)
    parser.set_defaults(command=_score)


_EVAL = "Score a folder of photos that people rated, and say how well the scores agree with the ratings (MOS)."
_CALIBRATE = (
    "Write a copy of a model whose rows also give the MOS that the raters of your photos would give: "
    "a logistic curve from the score, with its accuracy by cross-validation."
)

_BUILD = (
    "Build a plan (a serialised TensorRT engine) of a model's graph, or find it in the cache, and print its path. "
    "TensorRT builds for the GPU that it runs on; TensorRT for RTX also ahead of time, for the GPUs named by --for."
)


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("dataset", type=Path, metavar="DATASET", help="a folder of images with a CSV of their ratings")
    add("--scores", type=Path, metavar="FILE.csv", help="the ratings (default: the only scores.csv in DATASET)")
    add("--image-column", default="image", metavar="NAME", help="the images, from the CSV's folder or DATASET")
    add("--score-column", default="mos", metavar="NAME", help="the mean opinion scores (default: mos)")
    add("--head", default="technical", metavar="NAME", help="aesthetic, or an attribute (default: technical)")
    add(
        "--lower-is-better",
        action="store_true",
        help="the score should fall as the ratings rise: for DMOS, or a head such as noisiness",
    )
    add("--plot", type=Path, metavar="FILE", help="draw scores against ratings: .png or .svg")
    add_options(parser)
    add_batch_options(parser)


def _add_eval(parser: argparse.ArgumentParser) -> None:
    _add_dataset(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write path, mos, score: .csv, .jsonl or .parquet")
    parser.set_defaults(command=_eval)


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    _add_dataset(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="NEWBUNDLE", help="the folder to write")
    parser.add_argument(
        "--percentiles", action="store_true", help="percentiles against these photos, not the model's reference"
    )
    parser.set_defaults(command=_calibrate)


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_list_models)
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="the embedded models (default)").set_defaults(command=_list_models)
    for name, command, what in (
        ("show", _show_model, "print the model card"),
        ("verify", _verify_model, "check hashes"),
    ):
        action = actions.add_parser(name, help=what)
        action.add_argument(
            "model", nargs="?", metavar="BUNDLE", help="a folder or an embedded name (default: declip-tiny)"
        )
        action.set_defaults(command=command)


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="BUNDLE", help="a folder or an embedded name (default: declip-tiny)")
    parser.add_argument("--recipe", metavar="NAME", help="fp16, fp32, rtx, portable or a TOML file (default: fp16)")
    parser.add_argument("--for", dest="targets", default="", metavar="GPUS", help="ahead of time: sm89,sm120")
    parser.add_argument("--gpu", dest="index", type=int, default=0, metavar="N", help="to build on (default: 0)")
    parser.set_defaults(command=_making, action="build")


def _add_plans(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_making, action="list_plans")
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="the built plans (default)")
    action = actions.add_parser("show", help="all that one depends on")
    action.add_argument("key", metavar="KEY", help="the start of its key")
    action.set_defaults(action="show")
    action = actions.add_parser("prune", help="remove the plans that were not used for longest")
    action.add_argument("--most", type=float, required=True, metavar="GB", help="what may be left")
    action.set_defaults(action="prune")
    actions.add_parser("clear", help="remove them all").set_defaults(action="clear")


def _making(action: str, **options: Any) -> int:
    from declip_rt.commands import plans

    code: int = getattr(plans, action)(**options)
    return code


def _score(paths: list[str], **options: object) -> int:
    if not paths and not options["listed"]:
        print("declip-rt: give images to score: declip-rt score PATH... (declip-rt score --help)", file=sys.stderr)
        return 2
    return Job(paths=tuple(paths), **options).run()  # type: ignore[arg-type]


def _eval(**options: object) -> int:
    return Evaluation(**options).run()  # type: ignore[arg-type]


def _calibrate(out: Path, percentiles: bool, **options: object) -> int:
    return Recalibration(Evaluation(**options), out, percentiles).run()  # type: ignore[arg-type]


def _doctor() -> int:
    for line in doctor.lines():
        print(line)
    return 0


def _list_models() -> int:
    for name in embedded():
        bundle = Bundle(name, verify=False)
        print(f"{name}  {', '.join(bundle.manifest.graphs)}  {bundle.manifest.card.summary}")
    return 0


def _show_model(model: str | None) -> int:
    bundle = Bundle(model, verify=False)
    manifest = bundle.manifest
    print(f"{manifest.name} (licence {manifest.licence}, bundle {bundle.hash[:12]}, {bundle.path})\n")
    print(f"{manifest.card.summary}\n")
    print(f"views: {len(manifest.views.placements)} of {manifest.views.size}x{manifest.views.size}")
    print(f"graphs: {', '.join(f'{name} ({graph.file})' for name, graph in manifest.graphs.items())}")
    for name, graph in manifest.graphs.items():
        if graph.parity:
            parity = graph.parity
            figures = f"SRCC {parity.srcc:.4f}, largest change {parity.change:.4f} ({parity.n} photos)"
            print(f"  {name} against fp32: {figures}")
    print(f"own prompts: {f'up to {manifest.text.context - 2} tokens' if manifest.text else 'no text tower'}")
    print("heads:")
    for head in manifest.heads:
        print(f"  {head.name:<16} {head.kind}, {head.method}; 0 is {head.low}, 1 is {head.high}")
    if manifest.calibration and manifest.calibration.percentiles:
        print(f"percentiles against: {manifest.calibration.reference}")
    for name, to_mos in bundle.mos.items():
        found = to_mos.agreement
        figures = ", ".join(f"{measure} {estimate}" for measure, estimate in found.figures().items())
        print(f"{name}_mos: {min(to_mos.values):.3f} to {max(to_mos.values):.3f}, {to_mos.dataset} ({found.n} photos)")
        print(f"  cross-validated: {figures}")
    for line in _figures(manifest.card):
        print(line)
    return 0


def _figures(card: Card) -> list[str]:
    if not card.figures:
        return ["accuracy: not measured"]
    width = max(len(figure.what) for figure in card.figures)
    lines = [f"accuracy, measured {card.date} on {card.machine} by `{card.command}`:"]
    return lines + [f"  {figure.what:<{width}}  {figure.value:7.3f}  ({figure.n} photos)" for figure in card.figures]


def _verify_model(model: str | None) -> int:
    bundle = Bundle(model)
    print(f"{bundle.name}: {len(bundle.manifest.graphs)} graph(s) as bundle.json says, bundle {bundle.hash}")
    return 0
