"""How long an image may take: what takes longer is left to itself, and the run goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

from declip_rt.errors import ImageError

Item = TypeVar("Item")
Made = TypeVar("Made")
TIMEOUT = 300.0  # seconds
GLANCE = 1.0  # seconds between two looks at a task whose clock stands still


class Patience(Generic[Item, Made]):
    """Calls `make` for an item, and waits no longer than `seconds`. Threads may share it.

    `make` runs in a helper thread. No thread can be stopped from outside: the helper of an item that took too long ends
    with that item, and its caller gets another.
    """

    def __init__(self, seconds: float | None, make: Callable[[Item], Made]) -> None:
        self._seconds, self._make = seconds, make
        self._own, self._helpers = threading.local(), list[_Helper[Item, Made]]()

    def __call__(self, item: Item) -> Made:
        """What `make` returns or raises. Raises ImageError where it takes too long."""
        if self._seconds is None:
            return self._make(item)
        helper: _Helper[Item, Made] | None = getattr(self._own, "helper", None)
        if helper is None:
            helper = self._own.helper = _Helper(self._make)
            self._helpers.append(helper)
        task = _Task[Item, Made](item)
        helper.tasks.put(task)
        while not task.ended.wait(task.left(self._seconds)):
            if task.left(self._seconds) <= 0:
                self._own.helper = None
                self._helpers.remove(helper)
                helper.tasks.put(None)
                raise ImageError(f"took longer than {self._seconds:g} s (--timeout)")
        return task.result()

    def close(self) -> None:
        """Lets the helpers go. Nothing may be made from then on."""
        while self._helpers:
            self._helpers.pop().tasks.put(None)

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Within `make`: the clock stands still while the item waits for others, and starts anew."""
        task = getattr(threading.current_thread(), "task", None)
        if task is None:
            yield
            return
        task.since = None
        try:
            yield
        finally:
            task.since = time.monotonic()


class _Task(Generic[Item, Made]):
    def __init__(self, item: Item) -> None:
        self.item = item
        self.since: float | None = time.monotonic()
        self.ended = threading.Event()
        self.made: Made | None = None
        self.error: BaseException | None = None

    def left(self, seconds: float) -> float:
        since = self.since
        return GLANCE if since is None else since + seconds - time.monotonic()

    def result(self) -> Made:
        error, self.error = self.error, None  # one that held itself by its traceback would hold the image, too
        if error is not None:
            try:
                raise error
            finally:
                del error
        return self.made  # type: ignore[return-value]  # `make` may return None


class _Helper(threading.Thread, Generic[Item, Made]):
    """Does one task after another. Nothing waits for it at the interpreter's end."""

    def __init__(self, make: Callable[[Item], Made]) -> None:
        super().__init__(name="declip-decode", daemon=True)
        self.tasks: SimpleQueue[_Task[Item, Made] | None] = SimpleQueue()
        self.task: _Task[Item, Made] | None = None
        self._make = make
        self.start()

    def run(self) -> None:
        while (task := self.tasks.get()) is not None:
            self.task = task
            try:
                task.made = self._make(task.item)
            except BaseException as error:
                task.error = error
            task.ended.set()
            self.task = task = None  # what was made belongs to the caller
