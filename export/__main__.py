"""Exports a checkpoint as a bundle: `python -m export CHECKPOINT --out BUNDLE [--data DIR]`.

With `--data` the bundle is evaluated, through the runtime, on the test splits, and its accuracy card says the results.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
import open_clip
from open_clip import CLIP

from declip_rt.bundle import Card, File, Graph, Head, Manifest, TextTower
from declip_rt.errors import DeclipError
from export.graph import write_graph
from export.text import is_supported, write_text, write_tokenizer
from train import evaluate
from train.model import ATTRIBUTES, QUALITIES, dimension, load


def export(checkpoint: Path, out: Path, data: Path | None) -> Manifest:
    """Writes the bundle's folder and returns its manifest. Raises DeclipError."""
    config, model, calibration = load(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    difference = write_graph(model, config.views, out / "fp32.onnx")
    print(f"fp32.onnx: largest score difference from torch {difference:.1e}")
    manifest = Manifest(
        schema=1,
        name=config.name,
        licence=config.licence,
        checkpoint_sha256=File.of(checkpoint).sha256,
        views=config.views,
        graphs={"fp32": Graph.of(out / "fp32.onnx")},
        heads=_heads(),
        features=dimension(config.clip.model),
        card=Card(summary=" ".join(config.summary.split())),
        calibration=calibration,
        text=_text(model.clip, config.clip.model, out),
    )
    manifest.write(out)
    if data is not None:
        manifest = msgspec.structs.replace(manifest, card=evaluate.card(manifest.card, out, data))
        manifest.write(out)
    return manifest


def _heads() -> tuple[Head, ...]:
    quality = [Head(name, "quality", "learned", "bad", "good") for name in QUALITIES]
    attributes = [
        Head(name, "attribute", "zero-shot", low, high, prompts) for name, (low, high, prompts) in ATTRIBUTES.items()
    ]
    return (*quality, *attributes)


def _text(model: CLIP, name: str, out: Path) -> TextTower | None:
    if not is_supported(name):
        print(f"no text.onnx: {name} does not read text by CLIP's own tokenizer, so the bundle takes no prompts")
        return None
    cosine = write_text(model, name, out / "text.onnx")
    print(f"text.onnx: lowest cosine of a prompt's feature with torch's {cosine:.6f}")
    write_tokenizer(out / "tokenizer.json")
    return TextTower(
        graph=Graph.of(out / "text.onnx"),
        tokenizer=File.of(out / "tokenizer.json"),
        context=open_clip.get_tokenizer(name).context_length,
        scale=model.logit_scale.exp().item(),
    )


def main() -> int:
    parser = argparse.ArgumentParser("python -m export", description=__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="declip.pt of python -m train.run")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="the folder to write")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data folder, to measure the accuracy card on")
    options = parser.parse_args()
    try:
        manifest = export(options.checkpoint, options.out, options.data)
    except DeclipError as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    for figure in manifest.card.figures:
        print(f"{figure.what}: {figure.value:.3f} ({figure.n} photos)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
