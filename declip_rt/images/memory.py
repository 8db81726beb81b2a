"""Memory that photos may take while they are decoded, which all workers share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from declip_rt import cgroup
from declip_rt.errors import ImageError

SHARE = 0.5  # of what the process may use
UNKNOWN = 4 * 2**30  # bytes that a machine has which does not say how many


class Budget:
    """Bytes that are lent to one photo after another. Threads may share it."""

    def __init__(self, most: int) -> None:
        self.most, self._left, self._changed = most, most, threading.Condition()
        self._lost = 0  # lent to photos that nobody waits for

    @contextmanager
    def lent(self, cost: int, what: str) -> Iterator[Callable[[], None]]:
        """Waits until `cost` bytes are free, and holds them.

        Gives what is to be called where the photo is given up, so that nobody waits for its bytes. Raises ImageError
        where there will never be so many.
        """
        held, lost = True, 0

        def give_up() -> None:
            nonlocal lost
            with self._changed:
                lost = cost if held else 0
                self._lost += lost
                self._changed.notify_all()

        with self._changed:
            self._changed.wait_for(lambda: self._left >= cost or cost > self.most - self._lost)
            if cost > self._left:
                lost_to = f", of which photos that took too long hold {_size(self._lost)}" if self._lost else ""
                raise ImageError(
                    f"{what} needs {_size(cost)} of memory to decode, and {_size(self.most)} are allowed{lost_to}: "
                    "shrink it first, or allow more (--memory)"
                )
            self._left -= cost
        try:
            yield give_up
        finally:
            with self._changed:
                held = False
                self._left += cost
                self._lost -= lost
                self._changed.notify_all()


def allowance() -> int:
    """SHARE of the bytes that this process may still use, by the machine and by its cgroup."""
    here, allowed = _available(), cgroup.memory_left()
    return int(SHARE * (here if allowed is None else min(here, allowed)))


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return UNKNOWN


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
