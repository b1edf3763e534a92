"""Interrupts a guest's own code: when the engine's epoch rises, a callback decides whether the guest continues."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from wasmtime import Engine, Store

from wasi_nn.abi.wasmtime_c_api import ADDRESS, FORGET, keep, kept, new_error, symbol

_CONTINUE = 0


def ask_when_raised(store: Store, may_go_on: Callable[[], str]) -> None:
    """Call `may_go_on` on the guest's thread whenever the engine's epoch rises. It returns an empty text to let the
    guest continue, or the reason for a trap. The engine must be configured with `epoch_interruption`."""

    def decide(delta: int, kind: int) -> int | None:
        reason = may_go_on()
        if reason:
            return new_error(reason)
        ctypes.c_uint64.from_address(delta).value = 1
        ctypes.c_uint8.from_address(kind).value = _CONTINUE
        return None

    _set_callback(
        ctypes.cast(store.ptr(), ADDRESS), ctypes.cast(_ENTER, ADDRESS), keep(decide), ctypes.cast(FORGET, ADDRESS)
    )
    store.set_epoch_deadline(1)


def raise_epoch(engine: Engine) -> None:
    """Call the `may_go_on` of every guest that runs on an engine. Any thread may call this."""
    engine.increment_epoch()


def _enter(_: int, key: int, delta: int, kind: int) -> int | None:
    try:
        error: int | None = kept[key](delta, kind)
    except BaseException as interruption:
        error = new_error(f"interrupted by {type(interruption).__name__}")
    return error


_ENTER = ctypes.CFUNCTYPE(ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS)(_enter)
_set_callback = symbol("wasmtime_store_epoch_deadline_callback", None, ADDRESS, ADDRESS, ADDRESS, ADDRESS)
