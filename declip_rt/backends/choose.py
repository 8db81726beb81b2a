"""Chooses the engine. No other module knows all of them."""

from __future__ import annotations

import logging
from dataclasses import replace

from declip_rt.backends import parity, proofs
from declip_rt.backends.contract import Engine, EngineOptions
from declip_rt.backends.onnxrt.cpu import open_onnx
from declip_rt.backends.onnxrt.session import has_cuda
from declip_rt.backends.openvino.engine import fastest, open_compiled
from declip_rt.errors import ConfigError, EngineError, Unavailable
from declip_rt.model.bundle import Bundle
from declip_rt.stats import Stats

logger = logging.getLogger(__name__)


def open_engine(bundle: Bundle, options: EngineOptions | None = None, stats: Stats | None = None) -> Engine:
    """Loads the bundle's graph on the device.

    stats: counts the seconds that the engine computes. Long steps are logged. Where the engine does otherwise than
    asked, a warning is logged, and `info.fallback` says why.

    Raises:
        EngineError: the device or its driver is missing, or the engine fails.
        Unavailable: a library is not installed.
        ParityError: the engine does not score as the reference does.
        BundleError: the bundle has no graph of this precision.
        ConfigError: an option does not go with the device that `auto` found, or a recipe cannot be used.
    """
    options, stats = options or EngineOptions(), stats or Stats()
    kind, fallback = options.on.kind, None
    if options.on.others != ():
        return _open_several(bundle, options, stats)
    if kind == "tensorrt":
        from declip_rt.backends.trt.engine import open_plan

        return open_plan(bundle, options, stats)
    if kind == "cuda":
        return _open_cuda(bundle, options, stats)
    if kind == "openvino":
        return _open_openvino(bundle, options, stats)
    if kind == "auto" and options.precision not in ("bf16", "int8", "fp8") and has_cuda():
        try:
            return _open_cuda(bundle, options, stats)
        except (EngineError, Unavailable) as error:
            fallback = str(error)
            logger.warning("computing on the CPU: %s", fallback)
    if options.lanes is not None:
        raise ConfigError("lanes are of GPUs, and none is used here: leave `lanes` out")
    if kind == "auto" and options.precision == "bf16":
        return _open_openvino(bundle, options, stats)
    if kind == "auto" and (proven := fastest(bundle)) and options.precision in ("auto", proven):
        try:
            return _open_openvino(bundle, replace(options, precision=proven), stats, fallback)
        except (EngineError, Unavailable) as error:
            logger.warning("computing by ONNX Runtime: %s", error)
            fallback = "; ".join(filter(None, (fallback, str(error))))
    return open_onnx(bundle, options, stats, fallback)


def _open_several(bundle: Bundle, options: EngineOptions, stats: Stats) -> Engine:
    from declip_rt.backends.cuda.context import count
    from declip_rt.backends.several import Several

    on = options.on
    indexes = range(count()) if on.others is None else (on.index, *on.others)
    return Several(lambda i: open_engine(bundle, replace(options, device=f"{on.kind}:{i}"), stats), indexes)


def _open_openvino(bundle: Bundle, options: EngineOptions, stats: Stats, fallback: str | None = None) -> Engine:
    engine = open_compiled(bundle, options, stats, fallback)
    if options.on.unit in ("", "CPU"):
        proofs.prove(engine, bundle)
    else:  # nothing tells when a GPU or its driver is another one
        parity.prove(engine, bundle)
    return engine


def _open_cuda(bundle: Bundle, options: EngineOptions, stats: Stats) -> Engine:
    from declip_rt.backends.onnxrt.cuda import open_session

    engine = open_session(bundle, options, stats)
    parity.prove(engine, bundle)
    return engine
