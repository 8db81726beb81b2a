"""`declip-rt build`: builds TensorRT plans, or finds them in the cache."""

from __future__ import annotations

import argparse
import sys

from tqdm import tqdm

from declip_rt.backends.cuda.context import Context
from declip_rt.backends.trt import builder
from declip_rt.backends.trt.origin import Origin
from declip_rt.backends.trt.plans import Plans
from declip_rt.backends.trt.recipe import Recipe, default_recipe
from declip_rt.errors import EngineError, Unavailable
from declip_rt.model.bundle import Bundle

DESCRIPTION = (
    "Build a plan (a serialised TensorRT engine) of a model's graph, or find it in the cache, and print its path. "
    "TensorRT builds for the GPU that it runs on; TensorRT for RTX also ahead of time, for the GPUs named by --for."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("--model", metavar="BUNDLE", help="a folder or an embedded name (default: declip-tiny)")
    parser.add_argument(
        "--recipe", metavar="NAME", help="fp16, fp32, fp8, rtx, portable or a TOML file (default: fp16)"
    )
    parser.add_argument("--for", dest="targets", default="", metavar="GPUS", help="ahead of time: sm89,sm120")
    parser.add_argument("--gpu", dest="index", type=int, default=0, metavar="N", help="to build on (default: 0)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    return build(options.model, options.recipe, options.targets, options.index)


def build(model: str | None, recipe: str | None, targets: str, index: int) -> int:
    """Builds plans, or finds them in the cache, and prints their paths.

    targets: compute capabilities, a plan for each (sm89,sm120); none is the GPU `index`.
    """
    named = sorted({name.strip().lower() for name in targets.split(",")} - {""})
    bundle, plans = Bundle(model), Plans()
    chosen = Recipe.find(recipe) if recipe else Recipe(library="tensorrt_rtx") if named else default_recipe()
    if named:
        for origin in [Origin.of(bundle, chosen, [name]) for name in named]:
            _get(plans, origin, bundle)
        return 0
    context = _here(chosen, index)
    with context.current():  # TensorRT builds for the current device
        _get(plans, Origin.of(bundle, chosen, context=context), bundle)
    return 0


def _get(plans: Plans, origin: Origin, bundle: Bundle) -> None:
    """Builds the plan, or finds it, and prints its path."""
    with tqdm(file=sys.stderr, disable=not sys.stderr.isatty(), unit="step") as bar:

        def progress(phase: str, done: int, steps: int) -> None:
            bar.set_description(phase)
            bar.total = steps
            bar.update(done - bar.n)

        def make() -> bytes:
            return builder.build(bundle, origin.recipe, origin.targets, progress, plans.timing(origin))

        plans.get(origin, bundle.name, make)
    print(plans.file(origin.key))


def _here(recipe: Recipe, index: int) -> Context:
    try:
        return Context(index)
    except (EngineError, Unavailable) as error:
        if recipe.library != "tensorrt_rtx":
            raise
        raise EngineError(f"{error}; or name the GPUs to build for: --for sm89,sm120") from error
