"""What becomes of us in a process that was forked, such as a worker of `multiprocessing`.

A fork has its parent's memory, but of its threads only the one that forked. A runtime that was used before waits there
for threads that don't exist, when it is asked to compute and even when it is destroyed. So what was made before a fork
is refused after it, in one plain sentence, and is never destroyed there; all may be made anew, but for runtimes that
can't be used in both processes.

What a C++ library does when the process exits can't be helped. In a fork that ends by `sys.exit`, ONNX Runtime waits
for ever if its parent has used it, OpenVINO may, and llama.cpp crashes. With `os._exit`, which `multiprocessing` calls,
none does.
"""

from __future__ import annotations

import ctypes
import os
from typing import Protocol
from weakref import WeakSet

from wasi_nn.errors import ErrorCode, NNError

count = 0
"""How many forks this process is away from the one that imported this: what was made at another count is another
process's."""


class Renewable(Protocol):
    """What goes on after a fork, once it has thrown away what the fork broke."""

    def renew(self) -> None:
        """Called in the child, before anything else runs there. Locks may be held by threads that aren't there."""


_kept: WeakSet[object] = WeakSet()
_renewed: WeakSet[Renewable] = WeakSet()
_started: set[str] = set()
_inherited: set[str] = set()


def made_elsewhere(what: str) -> NNError:
    """The error for what was made at another `count`."""
    return NNError(ErrorCode.RUNTIME_ERROR, said_of(what))


def said_of(what: str) -> str:
    """Why something can't be used after a fork, and what to do."""
    return f"this {what} was made in another process, which this one was forked from: make one in each process"


def keep(thing: object) -> None:
    """Never destroy this in a fork, nor what it refers to."""
    _kept.add(thing)


def renew(thing: Renewable) -> None:
    """Have this renewed in a fork."""
    _renewed.add(thing)


def start(runtime: str) -> None:
    """Say that a runtime is about to be used that works in one process alone. Raises `NNError` with `runtime-error` if
    that is another process."""
    if runtime in _inherited:
        message = f"{runtime} was used in the process that this one was forked from, and can't be used in both"
        raise NNError(ErrorCode.RUNTIME_ERROR, f"{message}: use it in forks only, or start processes by 'spawn'")
    _started.add(runtime)


def _in_child() -> None:
    global count
    count += 1
    _inherited.update(_started)
    for thing in list(_kept):
        _never_destroy(thing)
    for renewable in list(_renewed):
        renewable.renew()


_never_destroy = ctypes.pythonapi.Py_IncRef
_never_destroy.argtypes = [ctypes.py_object]
_never_destroy.restype = None

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
