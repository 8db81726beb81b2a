"""A file of plans, on their way from one cache to another: a zip of plans and sidecars, nothing compressed."""

from __future__ import annotations

import hashlib
import re
import struct
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from declip_rt.backends.trt.plans import CACHE_BYTES, Plan, Plans
from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError

SIDECAR_BYTES = 2**16
NAME = re.compile(r"[0-9a-f]{64}\.(plan|json)")
TEXT_LENGTH = 200
BROKEN = (zipfile.BadZipFile, RuntimeError, ValueError, OverflowError, EOFError, OSError, struct.error)


def write_archive(file: Path, plans: Plans, chosen: Iterable[Plan]) -> None:
    """Writes plans with their sidecars, without what this machine has found of them.

    Raises ConfigError where a plan is damaged or was refused, and OSError.
    """

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for plan in chosen:
                data = plans.load(plan)
                archive.writestr(zipfile.ZipInfo(f"{plan.key}.json"), msgspec.json.encode(_unproven(plan)))
                archive.writestr(zipfile.ZipInfo(f"{plan.key}.plan"), data)

    write_whole(file, write)


def read_archive(file: Path) -> Iterator[tuple[Plan, bytes]]:
    """Each plan of a file, and its sidecar as if it had never run. Both have been checked against each other.

    Whoever made the file chose both: that they agree tells damage, and not what the plan does. Nothing is written, and
    no more is read than the file is long. Raises ConfigError where it is no such file, or anything in it is odd.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for key in _keys(archive, file.stat().st_size):
                yield _read(archive, key)
    except ConfigError as error:
        raise ConfigError(f"cannot import {file}: {error}") from error
    except BROKEN as error:
        raise ConfigError(f"cannot import {file}: {error}; declip-rt plans export writes such files") from error


def _keys(archive: zipfile.ZipFile, size: int) -> list[str]:
    """The keys of the plans. Each has a plan and a sidecar, and there is nothing else."""
    entries = archive.infolist()
    for entry in entries:
        if not NAME.fullmatch(entry.filename):
            raise ConfigError(f"it holds {entry.filename[:80]!a}, which is no plan")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ConfigError(f"{entry.filename} is compressed; plans export compresses nothing")
    if sum(entry.file_size for entry in entries) > min(size, CACHE_BYTES):
        raise ConfigError(f"its plans are larger than the file, or than a cache of {CACHE_BYTES // 2**30} GiB")
    names = sorted(entry.filename for entry in entries)
    keys = sorted({name[:64] for name in names})
    if not keys:
        raise ConfigError("it holds no plan")
    if names != [f"{key}.{suffix}" for key in keys for suffix in ("json", "plan")]:
        raise ConfigError("a plan or its sidecar is missing, or there twice")
    return keys


def _read(archive: zipfile.ZipFile, key: str) -> tuple[Plan, bytes]:
    if archive.getinfo(f"{key}.json").file_size > SIDECAR_BYTES:
        raise ConfigError(f"the sidecar of {key} is larger than {SIDECAR_BYTES // 2**10} KiB")
    plan = msgspec.json.decode(archive.read(f"{key}.json"), type=Plan)
    if plan.key != key:
        raise ConfigError(f"the sidecar of {key} is of another plan, or of another version of declip-rt")
    data = archive.read(f"{key}.plan")
    if (len(data), hashlib.sha256(data).hexdigest()) != (plan.size, plan.sha256):
        raise ConfigError(f"the plan {key} is not the one that its sidecar describes")
    origin = plan.origin
    texts = (origin.graph_sha256, origin.version, origin.gpu, origin.capability, origin.driver, *origin.targets)
    if not all(text.isprintable() and len(text) <= TEXT_LENGTH for text in (plan.model, plan.built, *texts)):
        raise ConfigError(f"the sidecar of {key} has a text that is too long, or control characters")
    return _unproven(plan), data


def _unproven(plan: Plan) -> Plan:
    return Plan(origin=plan.origin, model=plan.model, sha256=plan.sha256, size=plan.size, built=plan.built)
