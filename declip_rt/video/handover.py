"""Frames from the thread that reads them to the one that scores them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Generic, Literal, TypeAlias, TypeVar

Behind: TypeAlias = Literal["block", "drop"]
Item = TypeVar("Item")
AHEAD = 4  # items that may wait, where the reader waits too
LOOK = 0.5  # seconds after which a consumer looks again


class Handover(Generic[Item]):
    """Runs an iterator in a thread of its own, and hands its items to the thread that asks for them.

    behind: what happens where the consumer is slower. block: the iterator waits. drop: it never waits, and of what was
        not taken yet the newest is kept.

    Attributes:
        dropped: items that nobody got.
    """

    def __init__(self, items: Iterable[Item], behind: Behind = "block") -> None:
        self._items, self._behind = items, behind
        self._waiting = deque[Item]()
        self._changed = threading.Condition()  # of an RLock: `stop` may be called by a signal's handler
        self._error: BaseException | None = None
        self._stopped = self._ended = False
        self.dropped = 0

    def stop(self) -> None:
        """Ends the iteration at once: what waits is let go. A signal's handler may call it."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def __iter__(self) -> Generator[Item]:
        """Yields the items. Raises what the iterator raised, behind the items that it gave before."""
        threading.Thread(target=self._run, name="frames", daemon=True).start()
        try:
            while True:
                with self._changed:
                    self._wait_until(lambda: self._waiting or self._ended)
                    if self._stopped:
                        return
                    if not self._waiting:
                        if self._error is not None:
                            raise self._error
                        return
                    item = self._waiting.popleft()
                    self._changed.notify_all()
                yield item
        finally:
            self.stop()

    def _run(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    if self._behind == "drop":
                        self.dropped += len(self._waiting)
                        self._waiting.clear()
                    self._wait_until(lambda: len(self._waiting) < AHEAD)
                    if self._stopped:
                        return
                    self._waiting.append(item)
                    self._changed.notify_all()
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _wait_until(self, is_so: Callable[[], object]) -> None:
        """Waits for `is_so`, or to be stopped. A handler that comes between looking and waiting is seen soon after."""
        while not (is_so() or self._stopped):
            self._changed.wait(LOOK)
