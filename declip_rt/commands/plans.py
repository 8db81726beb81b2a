"""`declip-rt build` and `declip-rt engines`."""

from __future__ import annotations

import sys

from tqdm import tqdm

from declip_rt.backends.cuda.context import Context
from declip_rt.backends.trt import builder
from declip_rt.backends.trt.origin import Origin
from declip_rt.backends.trt.plans import KEY_DIGITS, Plan, Plans
from declip_rt.backends.trt.recipe import Recipe, default_recipe
from declip_rt.errors import EngineError, Unavailable
from declip_rt.model.bundle import Bundle


def build(model: str | None, recipe: str | None, targets: str, index: int) -> int:
    """Builds plans, or finds them in the cache, and prints their paths.

    targets: compute capabilities, a plan for each (sm89,sm120); none is the GPU `index`.
    """
    named = sorted({name.strip().lower() for name in targets.split(",")} - {""})
    bundle, plans = Bundle(model), Plans()
    chosen = Recipe.find(recipe) if recipe else Recipe(library="tensorrt_rtx") if named else default_recipe()
    if named:
        origins = [Origin.of(bundle, chosen, [name]) for name in named]
    else:
        origins = [Origin.of(bundle, chosen, context=_here(chosen, index))]
    for origin in origins:
        _get(plans, origin, bundle)
        print(plans.file(origin.key))
    return 0


def _get(plans: Plans, origin: Origin, bundle: Bundle) -> None:
    with tqdm(file=sys.stderr, disable=not sys.stderr.isatty(), unit="step") as bar:

        def progress(phase: str, done: int, steps: int) -> None:
            bar.set_description(phase)
            bar.total = steps
            bar.update(done - bar.n)

        def make() -> bytes:
            return builder.build(bundle, origin.recipe, origin.targets, progress, plans.timing(origin))

        plans.get(origin, bundle.name, make)


def list_plans() -> int:
    for plan in Plans().all():
        print(f"{plan.key[:KEY_DIGITS]}  {plan.size / 1e6:8.1f} MB  {plan.model}, {_what(plan)}, built {plan.built}")
    return 0


def show(key: str) -> int:
    plans = Plans()
    plan = plans.find(key)
    print(plans.sidecar(plan.key).read_text())
    return 0


def prune(most: float) -> int:
    for plan in Plans().prune(int(most * 1e9)):
        print(f"removed {plan.key[:KEY_DIGITS]} ({plan.model}, {_what(plan)})")
    return 0


def clear() -> int:
    print(f"removed {Plans().clear()} plans")
    return 0


def _what(plan: Plan) -> str:
    origin = plan.origin
    where = f"for {', '.join(origin.targets) or origin.gpu or origin.capability}"
    batches = ", ".join(map(str, origin.recipe.batches))
    return f"{origin.recipe.library} {origin.version}, {origin.recipe.graph}, batches {batches}, {where}"


def _here(recipe: Recipe, index: int) -> Context:
    try:
        return Context(index)
    except (EngineError, Unavailable) as error:
        if recipe.library != "tensorrt_rtx":
            raise
        raise EngineError(f"{error}; or name the GPUs to build for: --for sm89,sm120") from error
