"""Proofs that are kept: an engine that has scored as its reference does need not show it at each start."""

from __future__ import annotations

import hashlib
import logging
import platform
from pathlib import Path

import msgspec

from declip_rt.backends import cache, parity
from declip_rt.backends.contract import Engine
from declip_rt.backends.instructions import flags
from declip_rt.backends.parity import Proof
from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError
from declip_rt.extras import own_version
from declip_rt.model.bundle import Bundle
from declip_rt.stats import cores

logger = logging.getLogger(__name__)


class _Kept(msgspec.Struct, frozen=True):
    """key: of the engine, so that a file that was renamed proves nothing."""

    key: str
    proof: Proof


def prove(engine: Engine, bundle: Bundle) -> None:
    """As `parity.prove`, but takes the figures that an engine alike has left on this machine, within the limits or not.

    Engines are alike where declip-rt, the graphs, the library, the CPU, the precision, the batch and the lanes are.
    """
    place, key = cache.folder(), _key(engine, bundle)
    proof = _find(place, key)
    if proof is None:
        logger.info("comparing %s with the reference", engine.info)
        proof = parity.measure(engine, bundle)
        _keep(place, key, proof)
    parity.check(engine, proof)


def _key(engine: Engine, bundle: Bundle) -> str:
    graphs = sorted((name, graph.sha256) for name, graph in bundle.manifest.graphs.items())
    info = engine.info
    cpu = (platform.machine(), platform.processor(), sorted(flags()), cores())
    parts = (own_version(), graphs, info.name, info.precision, info.batch, info.lanes, cpu)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _find(place: Path, key: str) -> Proof | None:
    file = place / f"{key}.proof"
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=_Kept) if cache.is_trusted(file) else None
    except (OSError, ValueError):
        return None
    return kept.proof if kept and kept.key == key else None


def _keep(place: Path, key: str, proof: Proof) -> None:
    try:
        with cache.locked(place, key):
            write_whole(place / f"{key}.proof", msgspec.json.encode(_Kept(key, proof)))
    except ConfigError as error:  # a proof can be made again
        logger.info("the comparison is not kept: %s", error)
