"""`declip-rt build` and `declip-rt engines`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from tqdm import tqdm

from declip_rt import builder, gpu
from declip_rt.bundle import Bundle
from declip_rt.errors import ConfigError, EngineError
from declip_rt.plans import SHORT, Origin, Plan, Plans
from declip_rt.recipe import Recipe


def build(model: str | None, recipe: Path | None, targets: str) -> int:
    """Builds a plan, or finds it in the cache, and prints its path. targets: sm89,sm120"""
    named = sorted({name.strip().lower() for name in targets.split(",")} - {""})
    bundle, chosen = Bundle(model), _recipe(recipe, named)
    bundle.graph(chosen.graph)
    origin = _origin(bundle, chosen, named)
    with tqdm(file=sys.stderr, disable=not sys.stderr.isatty(), unit="step") as bar:

        def progress(phase: str, done: int, steps: int) -> None:
            bar.set_description(phase)
            bar.total = steps
            bar.update(done - bar.n)

        def make() -> bytes:
            return builder.build(bundle, chosen, named, progress)

        path = Plans().get(origin, bundle.name, make, lambda line: bar.write(line, sys.stderr))
    print(path)
    return 0


def list_plans() -> int:
    for plan in Plans().all():
        print(f"{plan.key[:SHORT]}  {plan.size / 1e6:8.1f} MB  {plan.model}, {_what(plan)}, built {plan.built}")
    return 0


def show(key: str) -> int:
    plans = Plans()
    plan = plans.find(key)
    print(plans.sidecar(plan.key).read_text())
    return 0


def prune(most: float) -> int:
    for plan in Plans().prune(int(most * 1e9)):
        print(f"removed {plan.key[:SHORT]} ({plan.model}, {_what(plan)})")
    return 0


def clear() -> int:
    print(f"removed {Plans().clear()} plans")
    return 0


def _what(plan: Plan) -> str:
    origin = plan.origin
    where = f"for {', '.join(origin.targets)}" if origin.targets else f"for {origin.gpu or 'any RTX GPU'}"
    batches = ", ".join(map(str, origin.recipe.batches))
    return f"{origin.recipe.library} {origin.version}, {origin.recipe.graph}, batches {batches}, {where}"


def _recipe(path: Path | None, targets: Sequence[str]) -> Recipe:
    """The one of a file, or the default one of the library that is installed."""
    if path is not None:
        return Recipe.read(path)
    if targets or not importlib.util.find_spec("tensorrt"):
        return Recipe(library="tensorrt_rtx")
    return Recipe()


def _origin(bundle: Bundle, recipe: Recipe, targets: Sequence[str]) -> Origin:
    graph, version = bundle.manifest.graphs[recipe.graph].sha256, builder.library(recipe).__version__
    origin = Origin(graph_sha256=graph, recipe=recipe, version=version, targets=tuple(targets))
    if targets:
        return origin
    found = gpu.listed()
    if not found and recipe.library == "tensorrt":
        raise EngineError("nvidia-smi lists no GPU; TensorRT builds on the GPU that it runs on")
    if not found:
        raise ConfigError("nvidia-smi lists no GPU; name those to build for: --for sm89,sm120")
    first = found[0]
    return msgspec.structs.replace(origin, gpu=first.name, capability=first.capability, driver=first.driver)
