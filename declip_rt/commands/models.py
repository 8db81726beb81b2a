"""`declip-rt models`: the embedded models, a model's card, and its hashes."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterator

from declip_rt.model.bundle import Bundle, embedded
from declip_rt.model.manifest import Card, Manifest

WIDTH = 120  # columns, at most


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=list_models)
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="the embedded models (default)").set_defaults(command=list_models)
    for name, command, what in (
        ("show", show, "print the model card"),
        ("verify", verify, "check hashes"),
    ):
        action = actions.add_parser(name, help=what)
        action.add_argument(
            "model", nargs="?", metavar="BUNDLE", help="a folder or an embedded name (default: declip-tiny)"
        )
        action.set_defaults(command=command)


def list_models(_: argparse.Namespace) -> int:
    for name in embedded():
        bundle = Bundle(name, verify=False)
        print(f"{name}  {', '.join(bundle.manifest.graphs)}  {bundle.manifest.card.summary}")
    return 0


def show(options: argparse.Namespace) -> int:
    bundle = Bundle(options.model, verify=False)
    for line in card(bundle):
        print(line)
    return 0


def verify(options: argparse.Namespace) -> int:
    bundle = Bundle(options.model)
    print(f"{bundle.name}: {len(bundle.manifest.graphs)} graph(s) as bundle.json says, bundle {bundle.hash}")
    return 0


def card(bundle: Bundle) -> Iterator[str]:
    """The model card, a line at a time, as wide as the terminal."""
    manifest = bundle.manifest
    yield f"{manifest.name} (licence {manifest.licence}, bundle {bundle.hash[:12]}, {bundle.path})"
    yield from ("", *_wrap(manifest.card.summary), "")
    yield f"views: {len(manifest.views.placements)} of {manifest.views.size}x{manifest.views.size}"
    yield from _graphs(manifest)
    yield f"own prompts: {f'up to {manifest.text.context - 2} tokens' if manifest.text else 'no text tower'}"
    yield "heads:"
    for head in manifest.heads:
        yield f"  {head.name:<16} {head.kind}, {head.method}; 0 is {head.low}, 1 is {head.high}"
    if manifest.calibration and manifest.calibration.percentiles:
        yield from _wrap(f"percentiles against: {manifest.calibration.reference}")
    for name, to_mos in bundle.mos.items():
        found = to_mos.agreement
        figures = ", ".join(f"{measure} {estimate}" for measure, estimate in found.figures().items())
        yield f"{name}_mos: {min(to_mos.values):.3f} to {max(to_mos.values):.3f}, {to_mos.dataset} ({found.n} photos)"
        yield f"  cross-validated: {figures}"
    yield from _sources(manifest.card)
    yield from _figures(manifest.card)


def _graphs(manifest: Manifest) -> Iterator[str]:
    yield f"graphs: {', '.join(f'{name} ({graph.file})' for name, graph in manifest.graphs.items())}"
    for name, graph in manifest.graphs.items():
        if parity := graph.parity:
            yield f"  {name} against fp32: {parity}"


def _sources(card: Card) -> Iterator[str]:
    if not card.data:
        yield "trained on: not told"
        return
    yield "trained on:"
    for source in card.data:
        photos = f", {source.photos:,} photos" if source.photos else ""
        yield from _wrap(f"{source.name}{photos}: {source.used_for}", 2)
        yield from _wrap(f"terms: {source.terms}", 4)


def _figures(card: Card) -> Iterator[str]:
    if not card.figures:
        yield "accuracy: not measured"
        return
    width = max(len(figure.what) for figure in card.figures)
    last = max(len(str(figure).lstrip("-")) for figure in card.figures)
    yield from _wrap(f"accuracy, with 95 % intervals, measured {card.date} on {card.machine} by `{card.command}`:")
    for figure in card.figures:
        sign = "-" if figure.value < 0 else " "
        yield f"  {figure.what:<{width}}  {sign}{str(figure).lstrip('-'):<{last}}  {figure.n:>6,} photos"


def _wrap(text: str, indent: int = 0) -> list[str]:
    """The lines of a text, at most as wide as the terminal."""
    columns = shutil.get_terminal_size((WIDTH, 24)).columns
    return textwrap.wrap(
        text,
        max(40, min(columns, WIDTH)),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2 * (indent > 0)),
        break_long_words=False,
        break_on_hyphens=False,
    )
