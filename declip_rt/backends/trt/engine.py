"""TensorRT: a plan from the cache, or built on the spot, proven and run on the lanes of a GPU."""

from __future__ import annotations

from collections.abc import Callable

from declip_rt.backends import parity
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.engine import GpuEngine
from declip_rt.backends.trt import builder
from declip_rt.backends.trt.network import TensorRtNetwork
from declip_rt.backends.trt.origin import Origin
from declip_rt.backends.trt.plans import Plans, Proof
from declip_rt.backends.trt.recipe import Recipe, recipe_for
from declip_rt.errors import EngineError
from declip_rt.model.bundle import Bundle
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
        origin = Origin.of(bundle, chosen, context=context)
        timing = plans.timing(origin)
        plan = plans.get(origin, bundle.name, lambda: builder.build(bundle, chosen, origin.targets, timing=timing), say)
        proof = plans.proof(origin)
        network = TensorRtNetwork(plan, chosen, proof.kernels if proof else b"")
        super().__init__(context, network, bundle, batch, lanes, stats, say)
        self.precision: str = chosen.graph
        self.device = f"tensorrt:{index} ({context.name}, {chosen.library} {origin.version}, {self.precision})"
        try:
            passed = proof.passed if proof and network.fits else parity.check(self, bundle)
            proven = Proof(passed, network.compiled())
            if proven != proof:
                plans.prove(origin, proven)
        except EngineError:
            plans.remove(origin.key)
            self.close()
            raise
