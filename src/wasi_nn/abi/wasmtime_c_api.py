"""Parts of the engine's C API that wasmtime-py binds but doesn't wrap: symbols, errors, and callbacks.

A Python function must live as long as the engine may call it. So `keep` stores it here under a key. The engine gets the
key and passes it to one C callback, which finds the function by it. At the end the engine passes the key to `FORGET`.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from wasmtime import WasmtimeError, _ffi as ffi

ADDRESS, SIZE = ctypes.c_void_p, ctypes.c_size_t

_library, _quick_library = ctypes.CDLL(str(ffi.filename)), ctypes.PyDLL(str(ffi.filename))
# Any thread may run a guest and change this dict. One operation on a dict is atomic under the GIL, as is `next` on a
# count; no operation here needs more.
kept: dict[int, Callable[..., Any]] = {}
"""The functions that the engine may still call, by their keys."""
_keys = itertools.count(1)


def symbol(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the engine's library, or None if the engine has no such function. Its argument types are ours:
    addresses are plain ints, which `ctypes` converts fastest."""
    return _typed(_library, name, result, arguments)


def quick_symbol(name: str, result: Any, *arguments: Any) -> Any:
    """A function as `symbol` gives it, for calls that take no time and call nothing back: they keep the interpreter's
    lock. To release the lock and take it again costs more than such a call, and far more if other threads want it."""
    return _typed(_quick_library, name, result, arguments)


def _typed(library: Any, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    try:
        function = library[name]
    except AttributeError:
        return None
    function.restype, function.argtypes = result, arguments
    return function


def offset_of(structure: Any, field: str) -> int:
    """The offset in bytes of a field of a `ctypes` structure or union."""
    offset: int = getattr(structure, field).offset
    return offset


def keep(function: Callable[..., Any]) -> int:
    """Keep a function until the engine calls `FORGET` with the key that this returns."""
    key = next(_keys)
    kept[key] = function
    return key


def _drop(key: int) -> None:
    if kept:  # None when the interpreter has cleared this module at its exit
        kept.pop(key, None)


FORGET = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_drop)
"""The finalizer to give to the engine beside a key from `keep`."""

_error_new = quick_symbol("wasmtime_error_new", ADDRESS, ctypes.c_char_p)
HAS_ERRORS = _error_new is not None
"""Whether the engine has the function that `new_error` calls."""


def new_error(text: str) -> int:
    """Make an error of the engine; returns its address. The engine takes the error from a callback that returns it."""
    error: int = _error_new(text.encode("utf-8", "replace").replace(b"\0", b"?"))
    return error


def require_success(error: int | None) -> None:
    """Raise `wasmtime.WasmtimeError` if a function of the engine returned an error's address."""
    if error:
        raise WasmtimeError._from_ptr(ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t)))
