"""Keeps this package safe in forked processes, such as workers of `multiprocessing`.

A forked process, the child, has its parent's memory, but of its parent's threads only the one that forked. A runtime
that the parent used waits in the child for threads that don't exist, at a compute and even at its destruction. So
objects that were made before a fork are refused in the child with a plain error, and are never destroyed there. The
child may make new ones, except for runtimes that only one of the two processes can use.

This module can't help with C++ libraries that wait when the process exits. In a child that ends by `sys.exit`, ONNX
Runtime waits for ever if the parent has used it, OpenVINO may wait, and llama.cpp crashes. With `os._exit`, which
`multiprocessing` calls, none of them does.
"""

from __future__ import annotations

import ctypes
import os
from typing import Protocol
from weakref import WeakSet

from wasi_nn.errors import ErrorCode, NNError

count = 0
"""The number of forks between the process that imported this module and this one.

An object that was made at another count was made in another process.
"""


class Resettable(Protocol):
    """An object that works in a child after it has dropped the state that the fork broke, such as locks and threads."""

    def reset_in_child(self) -> None:
        """Called in the child before anything else runs there. Locks may be held by threads that don't exist there."""


_leaked: WeakSet[object] = WeakSet()
_reset: WeakSet[Resettable] = WeakSet()
_started: set[str] = set()
_inherited: set[str] = set()


def made_elsewhere(kind: str) -> NNError:
    """The error for an object (a `kind` such as "graph") that was made at another `count`."""
    return NNError(ErrorCode.RUNTIME_ERROR, made_elsewhere_message(kind))


def made_elsewhere_message(kind: str) -> str:
    """The message of `made_elsewhere`."""
    return f"this {kind} was made in another process, which this one was forked from: make one in each process"


def leak_in_child(instance: object) -> None:
    """Never destroy an object in a child, nor the objects that it refers to."""
    _leaked.add(instance)


def reset_in_child(instance: Resettable) -> None:
    """Have `reset_in_child` called on an object in each child."""
    _reset.add(instance)


def start(runtime: str) -> None:
    """Note that this process starts to use a runtime that can't be used in both a parent and its child.

    Raises `NNError` with `runtime-error` if the parent has used it.
    """
    if runtime in _inherited:
        message = f"{runtime} was used in the process that this one was forked from, and can't be used in both"
        raise NNError(ErrorCode.RUNTIME_ERROR, f"{message}: use it in forks only, or start processes by 'spawn'")
    _started.add(runtime)


def _in_child() -> None:
    global count
    count += 1
    _inherited.update(_started)
    for instance in list(_leaked):
        _never_destroy(instance)
    for resettable in list(_reset):
        resettable.reset_in_child()


# One reference more than Python knows of: the count never becomes zero.
_never_destroy = ctypes.pythonapi.Py_IncRef
_never_destroy.argtypes = [ctypes.py_object]
_never_destroy.restype = None

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
