"""The cache of built plans. Each plan has a file, and a JSON sidecar that says what it is."""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from declip_rt.backends import cache
from declip_rt.backends.cache import is_trusted, locked
from declip_rt.backends.trt import lean
from declip_rt.backends.trt.origin import Origin
from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError
from declip_rt.model.manifest import Parity

CACHE_BYTES = 10 * 2**30  # of all plans together
KEY_DIGITS = 12  # of a key that users see
logger = logging.getLogger(__name__)


class Proof(msgspec.Struct, frozen=True):
    """What shows that a plan may run.

    passed: its parity with the reference. kernels: what TensorRT for RTX has compiled for it; empty with TensorRT.
    place: where it holds (`Origin.place`).
    """

    passed: Parity
    kernels: bytes = b""
    place: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the sidecar of a plan says."""

    origin: Origin
    model: str
    sha256: str
    size: int  # bytes
    built: str  # ISO 8601, UTC
    passed: Parity | None = None  # its parity with the reference, when it first ran
    passed_at: str = ""  # the place of that, for a plan that travels
    refused: str = ""  # why it may not run, with its figures
    refused_by: str = ""  # which declip-rt found that, on which GPU
    kernels_sha256: str = ""  # of the kernels that it passed with; empty where there are none

    @property
    def key(self) -> str:
        return self.origin.key


class Plans:
    """The plans in a folder: $DECLIP_RT_CACHE, or the user's cache folder."""

    def __init__(self, folder: Path | None = None, most: int = CACHE_BYTES) -> None:
        self.folder = folder or cache.folder()
        self.most = most

    def get(self, origin: Origin, model: str, build: Callable[[], bytes]) -> bytes:
        """The plan of this origin, with its hash checked. Where there is none, it is built first.

        Where two processes ask for it, one builds it and the other waits. The log says why a plan is built.
        Raises what `build` raises, and ConfigError where the folder cannot be written.
        """
        with locked(self.folder, origin.key):
            found = self._find_plan(origin)
            if isinstance(found, bytes):
                os.utime(self.file(origin.key))  # prune removes the plans first that were not used for longest
            else:
                logger.info("building a plan for %s: %s", model, found)
                found = build()
                self._write(origin, model, found)
        self.prune(self.most, spare=origin.key)
        return found

    def load(self, plan: Plan) -> bytes:
        """The plan, with its hash checked. Raises ConfigError where it cannot be used, as one that was refused."""
        found = self._find_plan(plan.origin)
        if isinstance(found, str):
            raise ConfigError(f"the plan {plan.key[:KEY_DIGITS]} cannot be used: {plan.refused or found}")
        return found

    def add(self, plan: Plan, data: bytes) -> bool:
        """Keeps a plan that was built elsewhere. False where something is known of this key already.

        data: its hash must have been checked. Raises ConfigError where the folder cannot be written.
        """
        with locked(self.folder, plan.key):
            if self.sidecar(plan.key).exists():
                return False
            write_whole(self.file(plan.key), data)
            write_whole(self.sidecar(plan.key), _text(plan))
            return True

    def earlier(self, origin: Origin) -> Origin:
        """The same origin with an earlier version, where that version's plan is here and its lean runtime installed.

        Else `origin`, as where this version has built a plan, too.
        """
        if self.sidecar(origin.key).exists():
            return origin
        found = (plan.origin for plan in self.all() if _is_earlier(plan.origin, origin))
        runs = (each for each in found if lean.find_library(each.version))
        return next((each for each in runs if isinstance(self._find_plan(each), bytes)), origin)

    def proof(self, origin: Origin, place: str = "") -> Proof | None:
        """The proof of this origin's plan. None where it has not run yet at this place, or its kernels were altered."""
        plan = self._read(self.sidecar(origin.key))
        if plan is None or plan.passed is None or plan.passed_at != place:
            return None
        try:
            kernels = self.kernels(origin.key).read_bytes() if plan.kernels_sha256 else b""
        except OSError:
            return None
        same = not plan.kernels_sha256 or hashlib.sha256(kernels).hexdigest() == plan.kernels_sha256
        return Proof(plan.passed, kernels, place) if same else None

    def prove(self, origin: Origin, proof: Proof) -> None:
        """Keeps the proof beside the plan. Raises ConfigError where the folder cannot be written."""
        digest = hashlib.sha256(proof.kernels).hexdigest() if proof.kernels else ""
        with locked(self.folder, origin.key):
            plan = self._read(self.sidecar(origin.key))
            if plan is not None:
                if digest:
                    write_whole(self.kernels(origin.key), proof.kernels)
                found = {"passed": proof.passed, "passed_at": proof.place, "kernels_sha256": digest}
                write_whole(self.sidecar(origin.key), _text(msgspec.structs.replace(plan, **found)))

    def refusal(self, origin: Origin, by: str) -> str:
        """Why this origin's plan may not run. Empty where nothing is known against it, or another found that."""
        sidecar = self.sidecar(origin.key)
        plan = self._read(sidecar)
        return plan.refused if plan and plan.refused_by == by and is_trusted(sidecar) else ""

    def refuse(self, origin: Origin, why: str, by: str) -> None:
        """Keeps that the plan may not run, in place of the plan. by: this declip-rt, and the GPU.

        Raises ConfigError where that cannot be written.
        """
        with locked(self.folder, origin.key):
            plan = self._read(self.sidecar(origin.key))
            if plan is not None:
                refused = msgspec.structs.replace(plan, refused=why, refused_by=by)
                write_whole(self.sidecar(origin.key), _text(refused))
                for path in (self.file(origin.key), self.kernels(origin.key)):
                    path.unlink(missing_ok=True)

    def timing(self, origin: Origin) -> Path:
        """The file of TensorRT's timing cache, which plans for the same library and GPU share."""
        parts = (origin.recipe.library, origin.version, origin.gpu, origin.capability, origin.driver)
        return self.folder / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:KEY_DIGITS]}.timing"

    def file(self, key: str) -> Path:
        return self.folder / f"{key}.plan"

    def kernels(self, key: str) -> Path:
        return self.folder / f"{key}.kernels"

    def sidecar(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def all(self) -> Iterator[Plan]:
        """The plans whose sidecar can be read, the last used first."""
        found = [self._read(path) for path in self.folder.glob("*.json")]
        yield from sorted((plan for plan in found if plan is not None), key=lambda plan: -self._last_use(plan.key))

    def find(self, key: str) -> Plan:
        """The one plan whose key starts with `key`. Raises ConfigError where there is none or more than one."""
        found = [plan for plan in self.all() if plan.key.startswith(key)]
        if len(found) != 1:
            has = ", ".join(plan.key[:KEY_DIGITS] for plan in self.all()) or "none"
            raise ConfigError(f"{len(found)} plans have a key that starts with {key!r}; there are: {has}")
        return found[0]

    def prune(self, most: int, spare: str = "") -> list[Plan]:
        """Removes and returns the plans that were not used for longest, until all are within `most` bytes."""
        gone, total = [], 0
        for plan in self.all():
            total += sum(path.stat().st_size for path in (self.file(plan.key), self.kernels(plan.key)) if path.exists())
            if total > most and plan.key != spare:
                self.remove(plan.key)
                gone.append(plan)
        return gone

    def clear(self) -> int:
        """Removes everything and returns how many plans there were."""
        count = len(list(self.folder.glob("*.plan")))
        for suffix in ("json", "plan", "proof", "kernels", "lock", "timing", "partial"):
            for path in self.folder.glob(f"*.{suffix}"):
                path.unlink(missing_ok=True)
        return count

    def remove(self, key: str) -> None:
        for path in (self.sidecar(key), self.file(key), self.kernels(key)):
            path.unlink(missing_ok=True)

    def _find_plan(self, origin: Origin) -> bytes | str:
        """The plan of this origin, or why it must be built."""
        if not self.sidecar(origin.key).exists():
            return self._explain_miss(origin)
        plan = self._read(self.sidecar(origin.key))
        if plan is None or plan.origin != origin:
            return "the sidecar of the one that there was cannot be read"
        try:
            if not all(map(is_trusted, (self.sidecar(origin.key), self.file(origin.key)))):
                return "the one that there was belongs to someone else"
            data = self.file(origin.key).read_bytes()
        except OSError:
            return "the file of the one that there was is gone"
        if len(data) != plan.size:
            return f"the one that there was has {len(data)} bytes, not {plan.size}"
        if hashlib.sha256(data).hexdigest() != plan.sha256:
            return "the one that there was is damaged"
        return data

    def _explain_miss(self, origin: Origin) -> str:
        for plan in self.all():
            other = plan.origin
            if _is_earlier(other, origin):
                return f"to use that of version {other.version} instead: {lean.remedy(other.version)}"
            if (other.graph_sha256, other.targets) != (origin.graph_sha256, origin.targets):
                continue
            for name in ("recipe", "version", "gpu", "capability", "driver"):
                old, new = getattr(other, name), getattr(origin, name)
                if old != new:
                    return "the recipe has changed" if name == "recipe" else f"the last was for {name} {old}, not {new}"
        return "there is none yet"

    def _write(self, origin: Origin, model: str, data: bytes) -> None:
        """Writes the plan whole, or not at all: the sidecar comes last."""
        self.remove(origin.key)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        digest = hashlib.sha256(data).hexdigest()
        plan = Plan(origin=origin, model=model, sha256=digest, size=len(data), built=now)
        write_whole(self.file(origin.key), data)
        write_whole(self.sidecar(origin.key), _text(plan))

    def _read(self, sidecar: Path) -> Plan | None:
        try:
            return msgspec.json.decode(sidecar.read_bytes(), type=Plan)
        except (OSError, msgspec.DecodeError):
            return None

    def _last_use(self, key: str) -> float:
        try:
            return self.file(key).stat().st_mtime
        except OSError:
            return 0.0


def _is_earlier(other: Origin, origin: Origin) -> bool:
    """Whether the other's plan is alike, but for an earlier version with which this one is compatible."""
    alike = msgspec.structs.replace(other, version=origin.version) == origin
    return origin.recipe.version_compatible and alike and lean.is_later(origin.version, other.version)


def _text(plan: Plan) -> bytes:
    return msgspec.json.format(msgspec.json.encode(plan))
