"""Exports a checkpoint as a bundle: `python -m export CHECKPOINT --out BUNDLE [--data DIR]`.

With `--data` the runtime scores the test splits with the bundle, and the accuracy card says the results.
The bundle also has an FP16 graph for TensorRT, and an INT8 graph for CPUs, each if it scores as the FP32 graph does.
Where bf16 does, in which OpenVINO computes the FP32 graph, the bundle says so. `--fp8` adds an FP8 graph for TensorRT.
INT8, bf16 and FP8 prove it on the photos of `--photos`, or of the val splits.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import open_clip
from numpy.typing import NDArray
from open_clip import CLIP

from declip_rt.backends.instructions import multiplies_8_bits
from declip_rt.errors import ConfigError, DeclipError, EngineError, ImageError, Unavailable
from declip_rt.images import sources
from declip_rt.images.decode import decode
from declip_rt.images.views import write_views
from declip_rt.model.manifest import LIMITS, Card, File, Graph, Head, Manifest, TextTower, ViewSpec
from export import fp16, parity, weights
from export.fp8 import write_fp8
from export.graph import pixels, write_graph
from export.int8 import write_int8
from export.text import FAMILIAR, write_text
from export.tokenizer import is_supported, write_tokenizer
from train import evaluate, texts
from train.model import ANTONYMS, ATTRIBUTES, BETTER, QUALITIES, Declip, dimension, load
from train.photos import photos as read_photos

CALIBRATION_PHOTOS = 64  # they give graphs of lower precision their ranges
PROOF_PHOTOS = 400  # the most that graphs are compared on
NOISE_PICTURES = 8  # they take the place of photos where there are none


def export(
    checkpoint: Path, out: Path, data: Path | None, photos: Path | None = None, with_fp8: bool = False
) -> Manifest:
    """Writes the bundle's folder and returns its manifest. Raises DeclipError."""
    config, model, calibration = load(checkpoint)
    reference = _reference(data, photos)
    out.mkdir(parents=True, exist_ok=True)
    calibrating = reference[:: max(2, -(-len(reference) // CALIBRATION_PHOTOS))]
    proving = sorted({*reference} - {*calibrating})
    views = _views(config.views, calibrating)
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "fp32.onnx"
        difference = write_graph(model, config.views, plain)
        halved = weights.store(plain, out / plain.name)
        print(f"fp32.onnx: largest score difference from torch {difference:.1e}; {halved} weights stored in FP16")
        half = fp16.write_fp16(plain, out / "fp16.onnx", views)
        print(f"fp16.onnx: {half}")
        if not half.passes:
            print(f"left out, as it must keep to: {LIMITS['fp16']}")
        manifest = Manifest(
            schema=1,
            name=config.name,
            licence=config.licence,
            checkpoint_sha256=File.of(checkpoint).sha256,
            views=config.views,
            graphs={name: Graph.of(out / f"{name}.onnx") for name in ("fp32", *["fp16"] * half.passes)},
            heads=_heads(model),
            features=dimension(config.clip.model),
            card=Card(summary=" ".join(config.summary.split()), data=config.data),
            calibration=calibration,
            text=_write_text(model.clip, config.clip.model, out),
        )
        manifest.write(out)
        if reference:
            proof = _views(config.views, proving[:: max(1, -(-len(proving) // PROOF_PHOTOS))])
            if with_fp8:
                manifest = _add_fp8(manifest, plain, out, views, proof)
            manifest = _add_bf16(_add_int8(manifest, plain, out, views, proof), out, proof)
            manifest.write(out)
        else:
            names = "int8.onnx or fp8.onnx" if with_fp8 else "int8.onnx"
            print(f"no {names}: give --data or --photos, to prove on photos that its scores are those of fp32.onnx")
    if data is not None:
        manifest = msgspec.structs.replace(manifest, card=evaluate.card(manifest.card, out, data))
        manifest.write(out)
    return manifest


def _reference(data: Path | None, photos: Path | None) -> list[Path]:
    """The photos to compare precisions on: those of a folder, or the val splits of the data."""
    if photos is not None:
        found = [Path(path) for path in sources.expand([str(photos)])]
        if len(found) < (least := 2 * parity.MIN_PHOTOS):
            raise ConfigError(f"--photos {photos} has {len(found)} photos; give {least} or more to compare on")
        return found
    if data is not None:
        return [photo.path for name in ("mos", "beauty") for photo in read_photos(data, name, "val")]
    return []


def _add_fp8(manifest: Manifest, fp32: Path, out: Path, views: NDArray[np.uint8], proof: NDArray[np.uint8]) -> Manifest:
    """Adds the FP8 graph, if much of the model is in 8 bits and `proof` proves that it scores as FP32 does."""
    file = out / "fp8.onnx"
    file.unlink(missing_ok=True)
    if "fp16" not in manifest.graphs:
        print("no fp8.onnx: it is made from fp16.onnx")
        return manifest
    made = write_fp8(out / "fp16.onnx", file, views)
    if made.pays:
        found = fp16.measure(file.read_bytes(), fp32, proof)
        print(f"fp8.onnx: {made}; {found}")
        if found.keeps(LIMITS["fp8"]):
            return _with_graph(manifest, "fp8", msgspec.structs.replace(Graph.of(file), parity=found))
        print(f"left out, as it must keep to: {LIMITS['fp8']}")
    else:
        print(f"fp8.onnx would not pay: {made}")
    file.unlink()
    return manifest


def _add_int8(
    manifest: Manifest, fp32: Path, out: Path, views: NDArray[np.uint8], proof: NDArray[np.uint8]
) -> Manifest:
    """Adds the fastest INT8 graph, made from `fp32` and `views`, that `proof` proves to score as FP32 does."""
    file = out / "int8.onnx"
    file.unlink(missing_ok=True)
    if not multiplies_8_bits():
        print("no int8.onnx: this CPU has no VNNI to prove it with")
        return manifest
    with TemporaryDirectory() as folder:
        for made in write_int8(fp32, Path(folder), views):
            if not made.pays:
                print(f"int8.onnx would not pay: {made}")
                continue
            weights.store(made.file, file)  # of the layers in float
            trial = _with_graph(manifest, "int8", Graph.of(file))
            trial.write(out)
            try:
                found = parity.measure(out, "int8", proof)
            except EngineError as error:
                print(f"int8.onnx: {made}; left out: {error}")
            else:
                print(f"int8.onnx: {made}; {found}")
                if found.keeps(LIMITS["int8"]):
                    return _with_graph(manifest, "int8", msgspec.structs.replace(trial.graphs["int8"], parity=found))
                print(f"left out, as it must keep to: {LIMITS['int8']}")
            file.unlink()
    print("no int8.onnx: none pays and scores as fp32.onnx does")
    return manifest


def _add_bf16(manifest: Manifest, out: Path, proof: NDArray[np.uint8]) -> Manifest:
    """Adds the FP32 graph as that of bf16, if its scores in bf16 are proven."""
    manifest.write(out)
    try:
        found = parity.measure(out, "bf16", proof)
    except (EngineError, Unavailable) as error:
        print(f"bf16 is not proven: {error}")
        return manifest
    print(f"bf16: {found}")
    if not found.keeps(LIMITS["bf16"]):
        print(f"bf16 is left out, as it must keep to: {LIMITS['bf16']}")
        return manifest
    return _with_graph(manifest, "bf16", msgspec.structs.replace(manifest.graphs["fp32"], parity=found))


def _with_graph(manifest: Manifest, precision: str, graph: Graph) -> Manifest:
    return msgspec.structs.replace(manifest, graphs=manifest.graphs | {precision: graph})


def _views(spec: ViewSpec, photos: list[Path]) -> NDArray[np.uint8]:
    """The views (N, V, S, S, 3) of the photos; noise where there are none."""
    if not photos:
        return pixels(spec, NOISE_PICTURES)
    views = np.zeros((len(photos), *spec.shape), np.uint8)
    for photo, slot in zip(photos, views, strict=True):
        try:
            write_views(decode(photo.read_bytes()), spec, slot)
        except (ImageError, OSError) as error:
            raise ConfigError(f"cannot compare on {photo}: {error}") from error
    return views


def _heads(model: Declip) -> tuple[Head, ...]:
    zero_shot = [name for name in QUALITIES if getattr(model.quality[name], "zero_shot", False)]
    quality = [
        Head(name, "quality", "zero-shot", "bad", "good", prompts=ANTONYMS[name])
        if name in zero_shot
        else Head(name, "quality", "learned", "bad", "good")
        for name in QUALITIES
    ]
    attributes = [
        Head(name, "attribute", "zero-shot", low, high, BETTER.get(name), prompts)
        for name, (low, high, prompts) in ATTRIBUTES.items()
    ]
    return (*quality, *attributes)


def _write_text(model: CLIP, name: str, out: Path) -> TextTower | None:
    if not is_supported(name):
        kinds = "CLIP's own tokenizer, or by BERT's with mean pooling"
        print(f"no text.onnx: {name} does not read text by {kinds}, so the bundle takes no prompts")
        return None
    cosine = write_text(model, name, out / "text.onnx", list(texts.vocabulary()))
    print(f"text.onnx: lowest cosine of a prompt's feature with torch's {cosine:.6f}")
    write_tokenizer(name, out / "tokenizer.json")
    return TextTower(
        graph=Graph.of(out / "text.onnx"),
        tokenizer=File.of(out / "tokenizer.json"),
        context=open_clip.get_tokenizer(name).context_length,
        scale=model.logit_scale.exp().item(),
        familiar=FAMILIAR,
    )


def main() -> int:
    parser = argparse.ArgumentParser("python -m export", description=__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="declip.pt of python -m train.run")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="the folder to write")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data folder, to measure the accuracy card on")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="any photos, to prove INT8, bf16 and FP8 on")
    parser.add_argument("--fp8", action="store_true", help="add an FP8 graph, for TensorRT on Ada, Hopper and later")
    options = parser.parse_args()
    try:
        manifest = export(options.checkpoint, options.out, options.data, options.photos, options.fp8)
    except DeclipError as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    for figure in manifest.card.figures:
        print(f"{figure.what}: {figure} ({figure.n} photos)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
