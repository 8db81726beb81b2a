"""Writes semantic texts by an ImageNet classifier: `python -m train.i2t.classes MANIFEST --out NEW.jsonl`.

Rows without a semantic text get what a dictionary says of the classes that their photo shows: "a photo of a tench",
"freshwater dace-like game fish", "a picture of a vertebrate". That teaches what classes have in common.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from declip_rt.errors import ConfigError, DeclipError, ImageError
from declip_rt.images.views import write_views
from declip_rt.model.manifest import Placement, ViewSpec
from train import imagenet, texts
from train.i2t.manifest import Images, Row, read, write
from train.pretrained import MEAN, STD, classifier

VIEW = ViewSpec(224, (Placement(256),))  # as the classifier was tested
LEAST, MOST = 0.3, 3  # the probability of a class that is named, and how many are
BATCH = 16


def describe(
    probabilities: NDArray[np.floating], rng: np.random.Generator, least: float = LEAST
) -> list[tuple[str, ...]]:
    """The texts of each photo by the probabilities (N, 1000) of ImageNet's classes, the surest first.

    At most three classes of a probability of `least` or more give a name, a gloss and a few of their kinds each; an
    unsure photo gets none.
    """
    described = []
    for row in np.asarray(probabilities):
        sure = [int(i) for i in np.argsort(-row, kind="stable")[:MOST] if row[i] >= least]
        described.append(tuple(dict.fromkeys(text for i in sure for text in _said(i, rng))))
    return described


def _said(number: int, rng: np.random.Generator) -> tuple[str, ...]:
    return f"a photo of {texts.a(imagenet.classes()[number].names[0])}", *texts.explain(number, rng)


@torch.no_grad()
def probabilities(network: nn.Module, views: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 1000) of views (N, 224, 224, 3)."""
    device = next(network.parameters()).device
    mean, std = (torch.tensor(some, device=device)[:, None, None] for some in (MEAN, STD))
    pixels = torch.from_numpy(views).to(device).permute(0, 3, 1, 2) / 255
    return network((pixels - mean) / std).softmax(1).cpu().numpy()


def name(rows: Sequence[Row], images: Images, network: nn.Module, least: float, by: str) -> Iterator[Row]:
    """All rows; those without a semantic text get what the network is sure of in the photo, before its edits."""
    photos = {(row.image, row.shrink): Row(row.image, shrink=row.shrink) for row in rows if not row.semantic}
    found: dict[tuple[str, int], tuple[str, ...]] = {}
    rng = np.random.default_rng(0)
    opened = ((key, view) for key, row in photos.items() if (view := _view(images, row)) is not None)
    while group := list(islice(opened, BATCH)):
        made = describe(probabilities(network, np.concatenate([view for _, view in group])), rng, least)
        found |= {key: said for (key, _), said in zip(group, made, strict=True)}
    for row in rows:
        if row.semantic or not (said := found.get((row.image, row.shrink))):
            yield row
        else:
            provenance = f"{row.provenance}, semantic by {by}".lstrip(", ")
            yield msgspec.structs.replace(row, semantic=said, provenance=provenance)


def _view(images: Images, row: Row) -> NDArray[np.uint8] | None:
    view = np.zeros(VIEW.shape, np.uint8)
    try:
        write_views(images.open(row), VIEW, view)
    except ImageError as error:
        print(f"not named: {row.image}: {error}", file=sys.stderr)
        return None
    return view


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.i2t.classes", description=__doc__)
    parser.add_argument("manifest", type=Path, metavar="MANIFEST")
    parser.add_argument("--out", type=Path, required=True, help="JSONL or Parquet beside MANIFEST")
    parser.add_argument("--model", default="efficientnet_lite0", choices=("efficientnet_lite0", "efficientnet_lite2"))
    parser.add_argument("--least", type=float, default=LEAST, help=f"probability of a class (default: {LEAST})")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    try:
        if options.out.resolve().parent != options.manifest.resolve().parent:
            raise ConfigError(f"--out must be in {options.manifest.parent}, from where images are named")
        if not 0 < options.least <= 1:
            raise ConfigError(f"--least must be above 0 and at most 1, not {options.least}")
        rows = read(options.manifest)
        network = classifier(options.model).to(options.device)
        named = list(name(rows, Images(options.manifest.parent), network, options.least, options.model))
        write(options.out, named)
    except DeclipError as error:
        print(f"classes: {error}", file=sys.stderr)
        return 2
    given = sum(bool(new.semantic) and not old.semantic for old, new in zip(rows, named, strict=True))
    print(f"{len(rows)} rows, {sum(not row.semantic for row in rows)} had no semantic text, {given} got some")
    return 0


if __name__ == "__main__":
    sys.exit(main())
