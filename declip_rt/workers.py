"""Threads that load images: what takes too long is left to itself, and the run goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from declip_rt.errors import DeclipError, EngineError, ImageError

TIMEOUT = 300.0  # seconds that an image may take
GLANCE = 1.0  # seconds between two looks at the workers
MOST_LOST = 16  # threads that may be at what nobody waits for


class Task(Protocol):
    """What a worker does. None of it raises."""

    def make(self) -> None:
        """May take any time."""

    def finish(self) -> None:
        """Comes after `make`, where that was in time."""

    def fail(self, error: DeclipError) -> None:
        """Comes in place of `finish` where it was not: after `make`, or in another thread while that goes on."""


class Workers:
    """Threads that do one task after another, and keep no process alive.

    No thread can be stopped from outside: one whose task takes too long ends with that task, and another has its place.

    count: of threads; there are fewer while no more can be started. seconds: that `make` may take; None is any time.

    Raises EngineError where no thread can be started.
    """

    def __init__(self, count: int, seconds: float | None) -> None:
        self._count, self._seconds, self._tasks = count, seconds, SimpleQueue[Task | None]()
        self._lock, self._stuck_since = threading.Lock(), 0.0
        self._active, self._lost, self._is_closed = list[_Worker](), list[_Worker](), False
        self._replace()
        if not self._active:
            raise EngineError("no thread can be started: let this process have more of them, or end others")

    def submit(self, task: Task) -> bool:
        """Whether they take the task: not where they are closed."""
        with self._lock:
            if not self._is_closed:
                self._tasks.put(task)
            return not self._is_closed

    def look(self) -> float | None:
        """Gives up what takes too long. Who waits for a task calls it, and again after the seconds that it returns."""
        if self._seconds is None:
            return None
        reason = _late(self._seconds)
        with self._lock:
            late = [task for worker in self._active if (task := worker.give_up(self._seconds))]
            self._replace()
            if not self._active and time.monotonic() > self._stuck_since + self._seconds:
                reason = f"not tried: {MOST_LOST} images that took too long are still in work (--timeout)"
                late += _all_of(self._tasks)
            left = min([GLANCE, self._seconds, *(worker.left(self._seconds) for worker in self._active)])
        for task in late:
            task.fail(ImageError(reason))
        return max(left, 0.0)

    def _replace(self) -> None:
        """Starts a worker for each that lacks, but for the last MOST_LOST that are still at their tasks."""
        were_active = bool(self._active)
        self._lost = [worker for worker in self._lost + self._active if worker.is_lost and worker.thread.is_alive()]
        self._active = [worker for worker in self._active if not worker.is_lost]
        with suppress(RuntimeError):  # no thread can be started, but perhaps later
            while len(self._active) < self._count and len(self._lost) < MOST_LOST:
                self._active.append(_Worker(self._tasks, self._seconds))
        if were_active:
            self._stuck_since = time.monotonic()

    def close(self) -> None:
        """Waits until all tasks are done or given up, and takes no others."""
        with self._lock:
            self._is_closed = True
        self._end()
        while alive := [worker for worker in self._active if worker.thread.is_alive()]:
            alive[0].thread.join(self.look())

    def _end(self) -> None:
        for _ in range(self._count):
            self._tasks.put(None)

    def __del__(self) -> None:
        self._end()


class _Worker:
    """A thread, and the task that it is at."""

    def __init__(self, tasks: SimpleQueue[Task | None], seconds: float | None) -> None:
        self._at = _At()
        self.thread = threading.Thread(target=_work, args=(tasks, self._at, seconds), name="declip-load", daemon=True)
        self.thread.start()

    @property
    def is_lost(self) -> bool:
        return self._at.is_lost

    def left(self, seconds: float) -> float:
        """The seconds that its task has left; GLANCE where none is being made, or its clock stands."""
        return self._at.left(seconds)

    def give_up(self, seconds: float) -> Task | None:
        """The task where it has taken longer than `seconds`; the worker is lost then."""
        return self._at.take(late=seconds)


class _At:
    """What a worker is at: a task, since when, and what to call where it is given up."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._lock, self.is_lost = threading.Lock(), False
        self.since: float | None = None
        self.let_go: Callable[[], None] | None = None

    def begin(self, task: Task) -> None:
        with self._lock:
            self._task, self.since = task, time.monotonic()

    def stand(self) -> None:
        with self._lock:
            self.since = None

    def left(self, seconds: float) -> float:
        since = self.since
        return GLANCE if since is None else since + seconds - time.monotonic()

    def take(self, late: float | None = None) -> Task | None:
        """The task, once: for its worker, or, where it has taken longer than `late` seconds, for who gives it up."""
        with self._lock:
            if late is not None and self.left(late) > 0:
                return None
            task, self._task, self.since = self._task, None, None
            if task is not None and late is not None:
                self.is_lost = True
                if self.let_go is not None:
                    self.let_go()
            self.let_go = None
        return task


_current = threading.local()  # its `at` is that of a worker's thread


@contextmanager
def standing() -> Iterator[None]:
    """Within `make`: the clock stands while the task waits for others, and starts anew."""
    at: _At | None = getattr(_current, "at", None)
    if at is None:
        yield
        return
    at.stand()
    try:
        yield
    finally:
        at.since = time.monotonic()


def if_given_up(call: Callable[[], None]) -> None:
    """Within `make`: what to call where nobody waits for the task any more."""
    if (at := getattr(_current, "at", None)) is not None:
        at.let_go = call


def _work(tasks: SimpleQueue[Task | None], at: _At, seconds: float | None) -> None:
    _current.at = at
    while (task := tasks.get()) is not None:
        at.begin(task)
        task.make()
        late = None if seconds is None or at.left(seconds) > 0 else ImageError(_late(seconds))
        if at.take() is None:
            return
        if late is None:
            task.finish()
        else:  # though nobody has looked meanwhile
            task.fail(late)
        task = None  # what was made belongs to who waits for it


def _late(seconds: float) -> str:
    return f"took longer than {seconds:g} s (--timeout)"


def _all_of(tasks: SimpleQueue[Task | None]) -> list[Task]:
    """What waits in the queue, which is empty then."""
    found = []
    try:
        while True:
            if (task := tasks.get_nowait()) is not None:
                found.append(task)
    except Empty:
        return found
