"""What the cgroups of this process allow it (Linux): version 2, and version 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def folders(controller: str) -> Iterator[tuple[Path, bool]]:
    """The folder of each cgroup above this process that may limit it, and whether it is of version 2."""
    try:
        entries = [line.rstrip("\n").split(":", 2) for line in OWN.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in (entry for entry in entries if len(entry) == 3):
        if controllers and controller not in controllers.split(","):
            continue
        base = ROOT / controllers if controllers else ROOT
        inside = base / path.lstrip("/")
        yield from ((folder, not controllers) for folder in (inside, *inside.parents) if folder.is_relative_to(base))


def memory_left() -> int | None:
    """Bytes; None where there is no limit."""
    rooms = []
    for folder, is_new in folders("memory"):
        limit, used = ("max", "current") if is_new else ("limit_in_bytes", "usage_in_bytes")
        if (most := _number(folder / f"memory.{limit}")) is not None:
            rooms.append(max(0, most - (_number(folder / f"memory.{used}") or 0)))
    return min(rooms, default=None)


def cpus() -> float | None:
    """How many CPUs' time there is, such as 1.5; None where there is no limit."""
    quotas = []
    for folder, is_new in folders("cpu"):
        try:
            if is_new:
                quota, period = map(int, (folder / "cpu.max").read_text().split())
            else:
                quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        except (OSError, ValueError):  # "max" is no limit
            continue
        if quota > 0 and period > 0:
            quotas.append(quota / period)
    return min(quotas, default=None)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # "max" is no limit
        return None
