"""What a forked child must not free: its threads have stayed in the parent, and freeing waits for them."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any

_held: weakref.WeakSet[Any] = weakref.WeakSet()


def never_free_in_a_child(thing: Any) -> None:
    """Lets a child that is forked from now on end, with `thing` as it is.

    ONNX Runtime waits for its threads when a session is freed, and once more when the process exits; OpenVINO crashes.
    So the child never frees the parent's things, and it ends before their libraries are asked to.
    """
    _held.add(thing)


def _survive() -> None:
    things = list(_held)
    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    libc = ctypes.CDLL(None)
    if things and hasattr(libc, "on_exit"):  # of glibc, which runs the last handler first
        libc.on_exit(ctypes.cast(libc._exit, ctypes.c_void_p), None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_survive)
