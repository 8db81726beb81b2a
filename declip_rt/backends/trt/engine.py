"""Runs a TensorRT plan on the lanes of a GPU. The cache has it, or it is built first; then it is proven."""

from __future__ import annotations

from declip_rt.backends import parity
from declip_rt.backends.contract import EngineInfo, EngineOptions
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.engine import LANES, GpuEngine
from declip_rt.backends.trt import builder
from declip_rt.backends.trt.layers import LayerWatch
from declip_rt.backends.trt.network import TensorRtNetwork
from declip_rt.backends.trt.origin import Origin
from declip_rt.backends.trt.plans import Plans, Proof
from declip_rt.backends.trt.recipe import recipe_for
from declip_rt.errors import DeclipError, EngineError, ParityError
from declip_rt.extras import own_version
from declip_rt.model.bundle import Bundle
from declip_rt.stats import Stats

FP8_CAPABILITY = (8, 9)


def open_plan(bundle: Bundle, options: EngineOptions, stats: Stats, watch: LayerWatch | None = None) -> GpuEngine:
    """An engine that runs a plan of the bundle's graph. The plan has proven that it scores as the reference does.

    Without a recipe, the installed library's default builds the graph of the precision: auto is FP16 where the bundle
    has such a graph, else FP32. The plan has a profile for the batch, too. watch: see
    TensorRtNetwork.

    Raises:
        Unavailable: a library is missing.
        EngineError: the driver or the GPU is missing, the GPU has no such precision, or TensorRT fails.
        ParityError: the plan does not score as the reference does. It is removed, and its figures are kept.
    """
    recipe = recipe_for(bundle, options)
    context, plans = Context(options.on.index), Plans()
    if recipe.graph == "fp8" and tuple(map(int, context.capability.split("."))) < FP8_CAPABILITY:
        raise EngineError(
            f"{context.name} has no products in fp8, which GPUs have from Ada and Hopper on; "
            'choose `precision="fp16"`, or leave it out'
        )
    origin = plans.earlier(Origin.of(bundle, recipe, context=context))
    place = origin.place(context)
    by = f"declip-rt {own_version()}, {context.name}"
    if why := plans.refusal(origin, by):
        raise ParityError(f"{why} (found when it was built; to build it again: declip-rt plans clear)")
    timing = plans.timing(origin)
    with context.current():  # TensorRT works on the current device
        plan = plans.get(origin, bundle.name, lambda: builder.build(bundle, recipe, origin.targets, timing=timing))
        proof = plans.proof(origin, place)
        kernels = proof.kernels if proof else b""
        network = TensorRtNetwork(plan, recipe, origin.version, bundle.graph(recipe.graph), kernels, watch)
    name = f"{context.name}, {recipe.library} {origin.version}"
    info = EngineInfo("tensorrt", context.index, name, recipe.graph, options.batch, options.lanes or LANES)
    engine = GpuEngine(context, network, bundle.views, info, stats)
    try:
        if proof is None or not network.fits:
            found = parity.measure(engine, bundle)
            try:
                parity.check(engine, found)
            except ParityError as error:
                plans.refuse(origin, str(error), by)
                raise
            passed = found.parity
        else:
            passed = proof.passed
        proven = Proof(passed, network.compiled(), place)
        if proven != proof:
            plans.prove(origin, proven)
    except DeclipError:
        engine.close()
        raise
    return engine
