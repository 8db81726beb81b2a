"""Proofs that are kept: an engine that has scored as its reference does need not show it at each start."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import msgspec

from declip_rt.backends import cache, parity
from declip_rt.backends.contract import Engine
from declip_rt.backends.instructions import flags
from declip_rt.backends.parity import Proof
from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError
from declip_rt.model.bundle import Bundle

logger = logging.getLogger(__name__)


def prove(engine: Engine, bundle: Bundle) -> None:
    """As `parity.prove`, but takes the figures that an engine alike has left on this machine, good or bad.

    Engines are alike where graphs, library, device, CPU, precision and batch are.
    """
    place, key = cache.folder(), _key(engine, bundle)
    proof = _find(place / f"{key}.proof")
    if proof is None:
        logger.info("comparing %s with the reference", engine.info)
        proof = parity.measure(engine, bundle)
        _keep(place, key, proof)
    parity.check(engine, proof)


def _key(engine: Engine, bundle: Bundle) -> str:
    graphs = sorted((name, graph.sha256) for name, graph in bundle.manifest.graphs.items())
    info = engine.info
    parts = (graphs, info.name, info.precision, info.batch, info.lanes, sorted(flags()))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _find(file: Path) -> Proof | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Proof) if cache.is_trusted(file) else None
    except (OSError, msgspec.DecodeError):
        return None


def _keep(place: Path, key: str, proof: Proof) -> None:
    try:
        with cache.locked(place, key):
            write_whole(place / f"{key}.proof", msgspec.json.encode(proof))
    except ConfigError as error:  # a proof can be made again
        logger.info("the comparison is not kept: %s", error)
