"""How pure I&2T texts are: `python -m train.i2t.purity MANIFEST --model NAME [--pretrained TAG] [--html report.html]`.

A perceptual text should say nothing of what the photo shows, and a semantic text nothing of how it looks.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict

from declip_rt.errors import ConfigError, DeclipError, ImageError
from train import clip
from train.config import ClipConfig
from train.i2t.manifest import Images, Row, read
from train.words import CLEAN, FAULTS

MOST = 1000  # rows that are measured
NEAREST = 10
THUMBNAIL = 200  # longest side, pixels
PLAIN = (
    "a an and the of in on with to is are this that it its at by for from "
    "photo photograph picture image shot shows showing overall"
)
LOOKS = " ".join(
    ["sharp blurred noise quality bright contrast colorful beautiful ugly exposure lighting focus"]
    + [word for some in (*FAULTS.values(), CLEAN) for word in some.adjectives if " " not in word]
)


@dataclass(frozen=True)
class Purity:
    """Shares in [0, 1]; 0 is pure, but for the first, whose floor is `chance`."""

    retrieval: float  # rows whose own semantic text is among the nearest to their perceptual one
    chance: float  # the same for texts that know nothing of each other
    semantic_from_perceptual: float  # variance of the one that a ridge regression on the other explains, held out
    perceptual_from_semantic: float
    content_words: float  # perceptual texts that have a word of their own semantic text
    look_words: float  # semantic texts that have a word for how a photo looks


def measure(perceptual: NDArray[np.float32], semantic: NDArray[np.float32], rows: Sequence[Row]) -> Purity:
    """The purity of rows (N) by the features (N, D), L2-normalised, of the first text of each kind."""
    similar = perceptual @ semantic.T  # (N, N)
    own = np.diag(similar)[:, None]
    nearer = (similar > own + 1e-6).sum(1)
    ties = (np.abs(similar - own) <= 1e-6).sum(1)  # rows with the same text share its rank
    words = [(_words(row.perceptual[0]), _words(row.semantic[0])) for row in rows]
    return Purity(
        retrieval=float((nearer + (ties - 1) / 2 < NEAREST).mean()),
        chance=min(1.0, NEAREST / len(rows)),
        semantic_from_perceptual=_explained(perceptual, semantic),
        perceptual_from_semantic=_explained(semantic, perceptual),
        content_words=float(np.mean([bool((looks & shows) - _words(LOOKS)) for looks, shows in words])),
        look_words=float(np.mean([bool(look_words(row.semantic[0])) for row in rows])),
    )


def look_words(text: str) -> set[str]:
    """The words in it that say how a photo looks."""
    return _words(text) & _words(LOOKS)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{3,}", text.lower())) - set(PLAIN.split())


def _explained(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """R2 of all columns together, in five folds of held-out rows; not below 0, and 0 where y is always the same."""
    if np.ptp(y, axis=0).max() < 1e-6:
        return 0.0
    predicted = cross_val_predict(RidgeCV(np.logspace(-3, 3, 7)), x, y, cv=5)
    return max(0.0, float(1 - ((y - predicted) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()))


def page(rows: Sequence[Row], leaks: NDArray[np.float32], images: Images, found: Purity) -> str:
    """A self-contained contact sheet, in which the texts nearest to each other come first."""
    cards = []
    for i in np.argsort(-leaks):
        looks, shows = rows[i].perceptual[0], rows[i].semantic[0]
        texts_of = f"<b>{escape(looks)}</b><br>{escape(shows)}"
        origin = f"<small>similarity {leaks[i]:.2f} · {escape(rows[i].image)}</small>"
        image = f'<img src="{_thumbnail(images, rows[i])}" alt="{escape(shows)}">'
        cards.append(f"<figure>{image}<figcaption>{texts_of}<br>{origin}</figcaption></figure>")
    figures = "".join(f"<tr><td>{name.replace('_', ' ')}<td>{value:.3f}" for name, value in asdict(found).items())
    return (
        "<!doctype html><meta charset=utf-8><title>I&amp;2T samples</title><style>body{font:15px system-ui;margin:2rem;"
        "background:#f5f6f8}main{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:1rem}"
        "figure{margin:0;padding:.6rem;background:#fff;border-radius:8px;overflow-wrap:anywhere}"
        "img{max-width:100%}small{color:#666}"
        f"td{{padding:.1rem 1rem .1rem 0}}</style><h1>I&amp;2T samples</h1><table>{figures}</table>"
        f"<p>Perceptual text in bold, semantic text below it; the nearest pairs first.</p><main>{''.join(cards)}</main>"
    )


def _thumbnail(images: Images, row: Row) -> str:
    try:
        image = Image.fromarray(images.open(row))
    except ImageError:
        return "data:,"
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@torch.no_grad()
def _features(config: ClipConfig, captions: list[str]) -> NDArray[np.float32]:
    model = clip.load(config, Path()).eval()
    groups = (captions[i : i + 256] for i in range(0, len(captions), 256))
    return torch.cat([clip.encode_texts(model, config.model, group) for group in groups]).numpy()


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.i2t.purity", description=__doc__)
    parser.add_argument("manifest", type=Path, metavar="MANIFEST")
    parser.add_argument(
        "--model", default="ViT-B-32", help="an open_clip model, or a JSON file's name here without .json"
    )
    parser.add_argument("--pretrained", required=True, help="an open_clip tag, or a weights file")
    parser.add_argument("--html", type=Path, help="a contact sheet")
    parser.add_argument("--samples", type=int, default=48, help="photos on it (default: 48)")
    options = parser.parse_args()
    try:
        rows = [row for row in read(options.manifest) if row.perceptual and row.semantic]
        if len(rows) < 2 * NEAREST:
            raise ConfigError(
                f"{options.manifest} has {len(rows)} rows with both texts; at least {2 * NEAREST} are needed"
            )
        rng = np.random.default_rng(0)
        rows = [rows[i] for i in rng.permutation(len(rows))[:MOST]]
        config = ClipConfig(model=options.model, pretrained=options.pretrained)
        features = _features(config, [*(row.perceptual[0] for row in rows), *(row.semantic[0] for row in rows)])
        perceptual, semantic = np.split(features, 2)
        found = measure(perceptual, semantic, rows)
        print("shares from 0 to 1; 0 is pure, but retrieval's floor is chance")
        for name, value in asdict(found).items():
            print(f"{name.replace('_', ' '):26} {value:.3f}")
        if options.html:
            some = rows[: options.samples]
            leaks = (perceptual * semantic).sum(1)[: options.samples]
            options.html.write_text(page(some, leaks, Images(options.manifest.parent), found))
    except DeclipError as error:
        print(f"purity: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
