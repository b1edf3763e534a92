"""The engine's C API where wasmtime-py binds it but doesn't wrap it: its symbols, and what it may still call.

Whatever the engine may call must stay alive as long as that. So a function is kept here under a key; the engine has the
key, gives it to the one callback that finds the function by it, and at last to `FORGET`.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from typing import Any

from wasmtime import _ffi as ffi

ADDRESS, SIZE = ctypes.c_void_p, ctypes.c_size_t

_library = ctypes.CDLL(str(ffi.filename))
kept: dict[int, Callable[..., Any]] = {}
"""The functions that the engine may still call, by their keys."""
_keys = itertools.count(1)


def symbol(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the engine's library with argument types of our own: addresses as plain ints, which cost least.
    None if the engine has no such function."""
    try:
        function = _library[name]
    except AttributeError:
        return None
    function.restype, function.argtypes = result, arguments
    return function


def offset_of(structure: Any, field: str) -> int:
    """Where a field of a `ctypes` structure or union begins."""
    offset: int = getattr(structure, field).offset
    return offset


def keep(function: Callable[..., Any]) -> int:
    """Keep a function until the engine calls `FORGET` with the key that this gives."""
    key = next(_keys)
    kept[key] = function
    return key


def _drop(key: int) -> None:
    if kept:  # not when the interpreter is taking itself apart
        kept.pop(key, None)


FORGET = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_drop)
"""The finalizer to give to the engine beside a key from `keep`."""
