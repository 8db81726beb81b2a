"""The cache of built plans: for each a file, and a JSON sidecar that says what it is."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from filelock import FileLock
from platformdirs import user_cache_path

from declip_rt.errors import ConfigError
from declip_rt.gate import Passed
from declip_rt.recipe import Recipe

FOLDER = "DECLIP_RT_CACHE"  # environment variable
MOST = 10 * 2**30  # bytes of all plans together
SHORT = 12  # digits of a key that users see


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """All that a plan depends on."""

    graph_sha256: str
    recipe: Recipe
    version: str  # of the library
    gpu: str = ""  # its name; nothing where the plan is built ahead of time
    capability: str = ""
    driver: str = ""
    targets: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A sidecar."""

    origin: Origin
    model: str
    sha256: str
    size: int  # bytes
    built: str  # ISO 8601, UTC
    passed: Passed | None = None  # the parity gate, on the GPU that the plan first ran on

    @property
    def key(self) -> str:
        return self.origin.key


class Plans:
    """The plans in a folder: $DECLIP_RT_CACHE, or the user's cache folder."""

    def __init__(self, folder: Path | None = None, most: int = MOST) -> None:
        given = os.environ.get(FOLDER)
        self.folder = folder or (Path(given) if given else user_cache_path("declip-rt") / "plans")
        self.most = most

    def get(self, origin: Origin, model: str, build: Callable[[], bytes], say: Callable[[str], None]) -> bytes:
        """The plan of this origin, whose hash has just been checked; built first where there is none.

        Two processes build it once: the second waits. `say` is told in a line why a plan is built.
        Raises what `build` raises, and ConfigError where the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / f"{origin.key}.lock"):
                found = self._whole(origin)
                if isinstance(found, bytes):
                    os.utime(self.file(origin.key))  # prune takes those first that were not used for longest
                else:
                    say(f"building a plan for {model}: {found}")
                    found = build()
                    self._write(origin, model, found)
        except OSError as error:
            raise ConfigError(f"cannot use the plans in {self.folder}: {error}; set {FOLDER} to a folder") from error
        self.prune(self.most, spare=origin.key)
        return found

    def passed(self, origin: Origin) -> Passed | None:
        """How the plan of this origin passed the parity gate, if it has yet."""
        plan = self._read(self.sidecar(origin.key))
        return plan.passed if plan else None

    def prove(self, origin: Origin, passed: Passed) -> None:
        """Notes that it did."""
        plan = self._read(self.sidecar(origin.key))
        if plan is not None:
            self._replace(self.sidecar(origin.key), _text(msgspec.structs.replace(plan, passed=passed)))

    def timing(self, origin: Origin) -> Path:
        """The file of TensorRT's timing cache, which plans for the same library and GPU share."""
        parts = (origin.recipe.library, origin.version, origin.gpu, origin.capability, origin.driver)
        return self.folder / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:SHORT]}.timing"

    def file(self, key: str) -> Path:
        return self.folder / f"{key}.plan"

    def sidecar(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def all(self) -> Iterator[Plan]:
        """Those with a sidecar that can be read, the last used first."""
        found = [self._read(path) for path in self.folder.glob("*.json")]
        yield from sorted((plan for plan in found if plan is not None), key=lambda plan: -self._used(plan.key))

    def find(self, key: str) -> Plan:
        """The one plan whose key starts so. Raises ConfigError where there is none or more than one."""
        found = [plan for plan in self.all() if plan.key.startswith(key)]
        if len(found) != 1:
            has = ", ".join(plan.key[:SHORT] for plan in self.all()) or "none"
            raise ConfigError(f"{len(found)} plans have a key that starts with {key!r}; there are: {has}")
        return found[0]

    def prune(self, most: int, spare: str = "") -> list[Plan]:
        """Removes the plans that were not used for longest, until all are within `most` bytes; returns them."""
        gone, total = [], 0
        for plan in self.all():
            total += plan.size
            if total > most and plan.key != spare:
                self.remove(plan.key)
                gone.append(plan)
        return gone

    def clear(self) -> int:
        """Removes everything and returns how many plans there were."""
        keys = {
            path.stem for pattern in ("*.plan", "*.json", "*.lock", "*.timing") for path in self.folder.glob(pattern)
        }
        count = len(list(self.folder.glob("*.plan")))
        for key in keys:
            self.remove(key)
            for suffix in ("lock", "timing"):
                (self.folder / f"{key}.{suffix}").unlink(missing_ok=True)
        return count

    def remove(self, key: str) -> None:
        self.sidecar(key).unlink(missing_ok=True)
        self.file(key).unlink(missing_ok=True)

    def _whole(self, origin: Origin) -> bytes | str:
        """The plan of this origin, or why there is none to be used."""
        if not self.sidecar(origin.key).exists():
            return self._nearest(origin)
        plan = self._read(self.sidecar(origin.key))
        if plan is None or plan.origin != origin:
            return "the sidecar of the one that there was cannot be read"
        try:
            data = self.file(origin.key).read_bytes()
        except OSError:
            return "the file of the one that there was is gone"
        if len(data) != plan.size:
            return f"the one that there was has {len(data)} bytes, not {plan.size}"
        if hashlib.sha256(data).hexdigest() != plan.sha256:
            return "the one that there was is damaged"
        return data

    def _nearest(self, origin: Origin) -> str:
        for plan in self.all():
            other = plan.origin
            if (other.graph_sha256, other.targets) != (origin.graph_sha256, origin.targets):
                continue
            for name in ("recipe", "version", "gpu", "capability", "driver"):
                old, new = getattr(other, name), getattr(origin, name)
                if old != new:
                    return "the recipe has changed" if name == "recipe" else f"the last was for {name} {old}, not {new}"
        return "there is none yet"

    def _write(self, origin: Origin, model: str, data: bytes) -> None:
        """Whole, or not at all: the sidecar comes last."""
        self.remove(origin.key)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        digest = hashlib.sha256(data).hexdigest()
        plan = Plan(origin=origin, model=model, sha256=digest, size=len(data), built=now)
        self._replace(self.file(origin.key), data)
        self._replace(self.sidecar(origin.key), _text(plan))

    def _replace(self, path: Path, content: bytes) -> None:
        partial = path.with_suffix(f"{path.suffix}.partial")
        partial.write_bytes(content)
        os.replace(partial, path)

    def _read(self, sidecar: Path) -> Plan | None:
        try:
            return msgspec.json.decode(sidecar.read_bytes(), type=Plan)
        except (OSError, msgspec.DecodeError):
            return None

    def _used(self, key: str) -> float:
        try:
            return self.file(key).stat().st_mtime
        except OSError:
            return 0.0


def _text(plan: Plan) -> bytes:
    return msgspec.json.format(msgspec.json.encode(plan))
