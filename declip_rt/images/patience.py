"""How long an image may take: what takes longer is left to itself, and the run goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from declip_rt.errors import ImageError

Item = TypeVar("Item")
Made = TypeVar("Made")
TIMEOUT = 300.0  # seconds
GLANCE = 1.0  # seconds between two looks at a task
MOST_GIVEN_UP = 16  # helpers that may be at what nobody waits for


class Patience(Generic[Item, Made]):
    """Calls `make` for an item, and waits no longer than `seconds`. Threads may share it.

    `make` runs in a helper thread. No thread can be stopped from outside: the helper of an item that took too long ends
    with that item, and its caller gets another.
    """

    def __init__(self, seconds: float | None, make: Callable[[Item], Made]) -> None:
        self._seconds, self._make = seconds, make
        self._own, self._helpers = threading.local(), list[_Helper]()
        self._given_up: set[_Task[Item, Made]] = set()

    def __call__(self, item: Item) -> Made:
        """What `make` returns or raises. Raises ImageError where it takes too long."""
        if self._seconds is None:
            return self._make(item)
        helper, task = self._helper(), _Task(self._make, item)
        helper.tasks.put(task)
        while not task.ended.wait(min(task.left(self._seconds), GLANCE)):
            if task.left(self._seconds) <= 0:
                self._own.helper = None
                self._helpers.remove(helper)  # it ends with its task
                self._given_up.add(task)
                task.give_up()
                raise ImageError(f"took longer than {self._seconds:g} s (--timeout)")
        return task.result()

    def _helper(self) -> _Helper:
        """The calling thread's own. Raises ImageError where there are too many already."""
        helper: _Helper | None = getattr(self._own, "helper", None)
        if helper is not None:
            return helper
        for task in self._given_up.copy():
            if task.ended.is_set():
                self._given_up.discard(task)
        if len(self._given_up) >= MOST_GIVEN_UP:
            next(iter(self._given_up)).ended.wait(self._seconds)
            raise ImageError(f"not tried: {MOST_GIVEN_UP} images that took too long are still in work (--timeout)")
        try:
            helper = self._own.helper = _Helper()
        except RuntimeError as error:
            raise ImageError(f"no thread to decode it: {error}") from error
        self._helpers.append(helper)
        return helper

    def close(self) -> None:
        """Lets the helpers go. Nothing may be made from then on."""
        while self._helpers:
            self._helpers.pop().end()

    @staticmethod
    @contextmanager
    def standing() -> Iterator[None]:
        """Within `make`: the clock stands still while the item waits for others, and starts anew."""
        task = _task()
        if task is None:
            yield
            return
        task.since = None
        try:
            yield
        finally:
            task.since = time.monotonic()

    @staticmethod
    def if_given_up(call: Callable[[], None]) -> None:
        """Within `make`: what to call where nobody waits for the item any more."""
        if (task := _task()) is not None:
            task.give_up = call


class _Task(Generic[Item, Made]):
    def __init__(self, make: Callable[[Item], Made], item: Item) -> None:
        self._make, self._item = make, item
        self.since: float | None = time.monotonic()
        self.give_up: Callable[[], None] = lambda: None
        self.ended = threading.Event()
        self._made: Made | None = None
        self._error: BaseException | None = None

    def do(self) -> None:
        try:
            self._made = self._make(self._item)
        except BaseException as error:
            self._error = error
        self.ended.set()

    def left(self, seconds: float) -> float:
        since = self.since
        return GLANCE if since is None else since + seconds - time.monotonic()

    def result(self) -> Made:
        error, self._error = self._error, None  # one that held itself by its traceback would hold the image, too
        if error is not None:
            try:
                raise error
            finally:
                del error
        return self._made  # type: ignore[return-value]  # `make` may return None


_current = threading.local()  # its `task` is what a helper is at


def _task() -> _Task[Any, Any] | None:
    task: _Task[Any, Any] | None = getattr(_current, "task", None)
    return task


class _Helper:
    """A thread that does one task after another, and ends where nobody has this object any more.

    Nothing waits for it at the interpreter's end.
    """

    def __init__(self) -> None:
        self.tasks: SimpleQueue[_Task[Any, Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=_work, args=(self.tasks,), name="declip-decode", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self.tasks.put(None)
        self._thread.join(GLANCE)

    def __del__(self) -> None:
        self.tasks.put(None)


def _work(tasks: SimpleQueue[_Task[Any, Any] | None]) -> None:
    while (task := tasks.get()) is not None:
        _current.task = task
        task.do()
        _current.task = task = None  # what was made belongs to the caller
