"""The stack on which a thread handles signals, which OpenVINO changes and the WebAssembly engine needs."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Give the thread back the stack for signal handlers that it had.

    OpenVINO's CPU plugin replaces it by one of 12 kB when it starts. The engine handles a guest's traps on that stack,
    which takes more than so little, and what lies beyond its end is somebody else's.
    """
    change = _sigaltstack()
    if change is None:
        yield
        return
    before, after = _SignalStack(), _SignalStack()
    change(None, ctypes.byref(before))
    try:
        yield
    finally:
        change(None, ctypes.byref(after))
        if after.address != before.address:
            change(ctypes.byref(before), None)


class _SignalStack(ctypes.Structure):
    """`stack_t` of the C library, as Linux has it."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@cache
def _sigaltstack() -> Any:
    return getattr(ctypes.CDLL(None), "sigaltstack", None) if sys.platform == "linux" else None
