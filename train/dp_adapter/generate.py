"""Draws pictures that follow two references: `python -m train.dp_adapter.generate --base PIPELINE --adapter FOLDER`.

`--perceptual` says how they look, `--semantic` what they show, each a photo or a row FILE#PATH of the .npz or .parquet
of `declip-rt embed`; either may be left out. `--out` writes one picture. `--grid` writes one for each pair of
`--lambda-p` (rows) and `--lambda-s` (columns), where a single number L stands for 0, L/2 and L.
All is done by diffusers' own pipeline: this is what its user may do without this repository.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError, DeclipError
from train.dp_adapter import grid, references
from train.dp_adapter.card import BRANCHES, Card
from train.dp_adapter.references import Reference

if TYPE_CHECKING:  # its import takes seconds
    from diffusers import DiffusionPipeline

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Sampling:
    """How a picture is drawn. None is what the pipeline does by itself."""

    prompt: str = ""
    negative: str | None = None
    seed: int = 0
    steps: int = 30
    guidance: float = 7.5  # at or below 1: none
    size: int | None = None  # pixels a side


def open_pipeline(base: str, folder: Path, card: Card, device: str, dtype: torch.dtype) -> DiffusionPipeline:
    """diffusers' pipeline, a folder or a name on its hub, with both adapters.

    Raises ConfigError where it cannot be opened, or the adapter does not fit it.
    """
    from diffusers import DiffusionPipeline

    try:
        pipeline = DiffusionPipeline.from_pretrained(base, dtype=dtype)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--base {base} cannot be opened as a pipeline of diffusers: {error}") from error
    if not hasattr(pipeline, "unet"):
        raise ConfigError(
            f"--base {base} is a {type(pipeline).__name__} without a UNet; "
            "give a Stable Diffusion 1.x, 2.x or XL: adapters of SD3 and Flux have another format"
        )
    card.check_base(pipeline.unet, base)
    files = [branch.weights.file for branch in card.branches]
    pipeline.load_ip_adapter([str(folder)] * len(files), subfolder="", weight_name=files, image_encoder_folder=None)
    try:
        return pipeline.to(device)
    except (AssertionError, RuntimeError) as error:  # the first where torch was built without CUDA
        raise ConfigError(f"--device {device} cannot be used: {str(error).splitlines()[0]}; give another") from error


def draw(
    pipeline: DiffusionPipeline,
    features: Mapping[str, Tensor],
    scales: Sequence[float | dict[str, Any]],
    sampling: Sampling,
) -> Image.Image:
    """One picture.

    features: (D,), by BRANCHES; one that is left out has no influence. scales: one for each of BRANCHES, as
    `set_ip_adapter_scale` takes them.
    """
    projections = pipeline.unet.encoder_hid_proj.image_projection_layers
    absent = [torch.zeros(each.image_embeds.in_features) for each in projections]
    given = [features.get(name, zeros)[None, None] for name, zeros in zip(BRANCHES, absent, strict=True)]  # (1, 1, D)
    if sampling.guidance > 1 and pipeline.unet.config.time_cond_proj_dim is None:
        given = [torch.cat([torch.zeros_like(each), each]) for each in given]  # (2, 1, D): without, then with it
    pipeline.set_ip_adapter_scale([s if name in features else 0.0 for name, s in zip(BRANCHES, scales, strict=True)])
    return pipeline(
        prompt=sampling.prompt,
        negative_prompt=sampling.negative,
        num_inference_steps=sampling.steps,
        guidance_scale=sampling.guidance,
        generator=torch.Generator().manual_seed(sampling.seed),  # on the CPU: the same noise on any device
        ip_adapter_image_embeds=given,
        height=sampling.size,
        width=sampling.size,
    ).images[0]


def sheet(
    pipeline: DiffusionPipeline,
    given: Mapping[str, Reference],
    scales: tuple[Sequence[float], Sequence[float]],
    sampling: Sampling,
) -> Image.Image:
    """A grid of pictures from the same noise over both scales, with the references beside."""
    features = {name: torch.from_numpy(reference.feature) for name, reference in given.items()}
    rows, columns = scales
    pictures = [[draw(pipeline, features, (p, s), sampling) for s in columns] for p in rows]
    shown = {
        f"{name}: {Path(reference.path).name}": None if (rgb := reference.picture) is None else Image.fromarray(rgb)
        for name, reference in given.items()
    }
    labels = [[f"{name} {scale:g}" for scale in each] for name, each in zip(BRANCHES, scales, strict=True)]
    return grid.labelled(pictures, *labels, shown)


def main() -> int:
    options = _parser().parse_args()
    try:
        _run(options)
    except DeclipError as error:
        print(f"generate: {error}", file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace) -> None:
    sources, card = _checked(options), Card.read(options.adapter)
    dials = [options.lambda_p or [card.perceptual.scale], options.lambda_s or [card.semantic.scale]]
    dials = [dial if name in sources else [0.0] for name, dial in zip(BRANCHES, dials, strict=True)]
    given = references.read(sources, card, options.model)

    from diffusers.utils import logging

    logging.set_verbosity_error()  # it warns that there is no image encoder, of which there is no need
    dtype = DTYPES[options.dtype or ("fp16" if options.device.startswith("cuda") else "fp32")]
    pipeline = open_pipeline(options.base, options.adapter, card, options.device, dtype)
    sampling = Sampling(options.prompt, options.negative, options.seed, options.steps, options.guidance, options.size)
    if options.out:
        features = {name: torch.from_numpy(reference.feature) for name, reference in given.items()}
        _write(options.out, draw(pipeline, features, [dial[0] for dial in dials], sampling))
    if options.grid:
        rows, columns = (dial if len(dial) > 1 else _stops(dial[0]) for dial in dials)
        _write(options.grid, sheet(pipeline, given, (rows, columns), sampling))


def _checked(options: argparse.Namespace) -> dict[str, str]:
    """The sources that were given, by adapter. Raises ConfigError where the options are at odds."""
    for option in ("out", "grid"):
        path = getattr(options, option)
        if path and path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"--{option} must end in {', '.join(SUFFIXES)}, not be {path.name}")
        if path and not path.parent.is_dir():
            raise ConfigError(f"--{option}: {path.parent} is no folder; make it first")
    if not (options.out or options.grid):
        raise ConfigError("give a file to write: --out for a picture, --grid for a grid over both scales")
    sources = {name: source for name in BRANCHES if (source := getattr(options, name))}
    if not sources:
        raise ConfigError("give --perceptual, --semantic or both: photos, or features that declip-rt embed wrote")
    for option, name, dial in (("p", "perceptual", options.lambda_p), ("s", "semantic", options.lambda_s)):
        if dial and name not in sources:
            raise ConfigError(f"--lambda-{option} is of --{name}: give that, too")
        if dial and len(dial) > 1 and options.out:
            raise ConfigError(f"--out takes one --lambda-{option}; more are for --grid")
    return sources


def _stops(scale: float) -> list[float]:
    return [0.0, scale / 2, scale] if scale else [0.0]


def _write(path: Path, picture: Image.Image) -> None:
    try:
        write_whole(path, partial(picture.save, format=Image.registered_extensions()[path.suffix.lower()]))
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}; give another file") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m train.dp_adapter.generate", description=__doc__)
    add = parser.add_argument
    add("--base", required=True, metavar="PIPELINE", help="a pipeline of diffusers: a folder, or a name on its hub")
    add("--adapter", type=Path, required=True, metavar="FOLDER", help="what python -m train.dp_adapter wrote")
    add("--perceptual", metavar="SOURCE", help="the reference for the look")
    add("--semantic", metavar="SOURCE", help="the reference for the content")
    add("--model", metavar="BUNDLE", help="reads photos (default: declip-tiny); the one the adapter was trained on")
    add("--lambda-p", type=float, nargs="+", metavar="SCALE", help="of --perceptual (default: the adapter's own)")
    add("--lambda-s", type=float, nargs="+", metavar="SCALE", help="of --semantic (default: the adapter's own)")
    add("--prompt", default="", help="what text tells beside the references")
    add("--negative", metavar="PROMPT", help="what text tells to avoid")
    add("--seed", type=int, default=0)
    add("--steps", type=int, default=Sampling.steps, help=f"default: {Sampling.steps}")
    add("--guidance", type=float, default=Sampling.guidance, help=f"default: {Sampling.guidance}; 1 is none")
    add("--size", type=int, metavar="PIXELS", help="of a side (default: the pipeline's)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--dtype", choices=tuple(DTYPES), help="default: fp16 on a GPU, fp32 else")
    add("--out", type=Path, metavar="PICTURE", help="one picture")
    add("--grid", type=Path, metavar="PICTURE", help="a picture for each pair of scales, with labels")
    return parser


if __name__ == "__main__":
    sys.exit(main())
