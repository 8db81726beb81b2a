"""TensorRT: a plan from the cache, or built on the spot, proven and run on the lanes of a GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from msgspec.structs import replace

from declip_rt import builder, gate
from declip_rt.bundle import Bundle
from declip_rt.cuda.context import Context
from declip_rt.cuda.engine import GpuEngine
from declip_rt.cuda.tensorrt_network import TensorRtNetwork
from declip_rt.errors import ConfigError, EngineError
from declip_rt.plans import Plans, Proof
from declip_rt.recipe import Recipe
from declip_rt.stats import Stats


class TensorRtEngine(GpuEngine):
    """Runs a plan of the bundle's graph.

    Args:
        recipe: how to build it; None is the default one of the library that is installed, for `precision` (auto is
            FP16 where the bundle has such a graph, else FP32), with a profile for `batch` beside its own.
        say: told in a line why a plan is built, and what was chosen.

    Raises:
        EngineError: a library, the driver or the GPU is missing, TensorRT fails, or the plan does not score as the
            reference does.
    """

    def __init__(
        self,
        bundle: Bundle,
        index: int,
        batch: int,
        precision: str,
        lanes: int | None,
        recipe: Recipe | None,
        stats: Stats,
        say: Callable[[str], None],
    ) -> None:
        chosen = recipe_for(bundle, precision, batch, recipe)
        context, plans = Context(index), Plans()
        origin = builder.origin(bundle, chosen, context=context)
        timing = plans.timing(origin)
        plan = plans.get(origin, bundle.name, lambda: builder.build(bundle, chosen, origin.targets, timing=timing), say)
        proof = plans.proof(origin)
        network = TensorRtNetwork(plan, chosen, proof.kernels if proof else b"")
        super().__init__(context, network, bundle, batch, lanes, stats, say)
        self.precision: str = chosen.graph
        self.device = f"tensorrt:{index} ({context.name}, {chosen.library} {origin.version}, {self.precision})"
        try:
            passed = proof.passed if proof and network.fits else gate.check(self, bundle)
            proven = Proof(passed, network.compiled())
            if proven != proof:
                plans.prove(origin, proven)
        except EngineError:
            plans.remove(origin.key)
            self.close()
            raise


def default_recipe() -> Recipe:
    """Of the library that is installed; of TensorRT where both are, or none."""
    alone = importlib.util.find_spec("tensorrt_rtx") and not importlib.util.find_spec("tensorrt")
    return Recipe(library="tensorrt_rtx" if alone else "tensorrt")


def recipe_for(bundle: Bundle, precision: str, batch: int, recipe: Recipe | None = None) -> Recipe:
    """What to build. Raises ConfigError where `recipe` cannot do what is asked, EngineError where TensorRT cannot."""
    if precision == "int8":
        raise EngineError("int8 graphs are for CPUs; choose --device cpu, or --precision auto")
    if recipe is not None:
        if precision not in ("auto", recipe.graph):
            raise ConfigError(f"the recipe builds the {recipe.graph} graph; leave --precision {precision} out")
        if batch > max(recipe.batches):
            raise ConfigError(
                f"the recipe's largest batch is {max(recipe.batches)}; choose such a --batch, or add {batch} to it"
            )
        return recipe
    graph = precision if precision != "auto" else "fp16" if "fp16" in bundle.manifest.graphs else "fp32"
    chosen = replace(default_recipe(), graph=graph)
    return chosen if batch <= max(chosen.batches) else replace(chosen, batches=(*chosen.batches, batch))
