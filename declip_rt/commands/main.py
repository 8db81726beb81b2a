"""The command line: `declip-rt COMMAND`, of COMMANDS."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from declip_rt import __version__
from declip_rt.commands.running import EXIT_CODES, hushed, in_flags, printed_log
from declip_rt.errors import DeclipError
from declip_rt.output.terminal import printable

COMMANDS = {  # name: its module in declip_rt.commands, and what it is for
    "score": ("score", "score images"),
    "embed": ("embed", "write the features of images, for search and comparison"),
    "video": ("video", "score videos over time"),
    "frames": ("frames", "score frames that another program writes"),
    "eval": ("evaluate", "measure agreement with rated photos"),
    "calibrate": ("calibrate", "map scores to your own MOS"),
    "bench": ("bench", "measure speed"),
    "doctor": ("doctor", "what is installed and found, and what is missing"),
    "models": ("models", "list, show and verify models"),
    "build": ("build", "build a TensorRT plan"),
    "plans": ("plans", "list, show, export, import and remove built plans"),
}
ALIASES = {"plans": ["engines"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command of declip-rt and returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return run(_parser(next((each for each in given if not each.startswith("-")), None)), given)


def run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the parser sets, and returns its exit code. Errors become one line on stderr."""
    if sys.stderr is None:  # it was closed
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # it stays open
    if sys.stdout is None:
        print("declip-rt: standard output is closed; give it somewhere to go, such as > /dev/null", file=sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # odd names must not stop a run
    warnings.filterwarnings("ignore", module="PIL")  # on odd tags, without the file's name
    options = parser.parse_args(arguments)
    quiet = getattr(options, "quiet", False)
    try:
        with printed_log(quiet), hushed(quiet):
            code: int = options.command(options)
        sys.stdout.flush()
        return code
    except DeclipError as error:
        print(f"declip-rt: {printable(in_flags(str(error)))}", file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename if error.filename is not None else "standard output"
        print(printable(f"declip-rt: cannot write {where}: {error.strerror or error}"), file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in its buffer goes nowhere
        return 2
    except KeyboardInterrupt:
        hint = "; a run with --out goes on with --resume" if "resume" in options else ""
        print(f"\ndeclip-rt: interrupted{hint}", file=sys.stderr)
        return 130


def _parser(asked: str | None) -> argparse.ArgumentParser:
    """Of all commands; only the one that is asked for is imported and has its options."""
    parser = argparse.ArgumentParser("declip-rt", description="Image quality with DeCLIP.", epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"declip-rt {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, what) in COMMANDS.items():
        aliases = ALIASES.get(name, [])
        command = commands.add_parser(name, aliases=aliases, help=what)
        if asked in (name, *aliases):
            importlib.import_module(f"declip_rt.commands.{module}").add_options(command)
    return parser
