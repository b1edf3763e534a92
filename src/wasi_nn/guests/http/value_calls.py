"""Calls of a component's functions with values of `wasi_nn.abi.component.values`, by the engine's C API: wasmtime-py
knows no resources of ours."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from wasmtime import Store

from wasi_nn.abi.component.resources import Resources
from wasi_nn.abi.component.values import VALUE_SIZE, Frame, ValueType
from wasi_nn.abi.wasmtime_c_api import ADDRESS, SIZE, quick_symbol, require_success, symbol

_call = symbol("wasmtime_component_func_call", ADDRESS, ADDRESS, ADDRESS, ADDRESS, SIZE, ADDRESS, SIZE)
_delete = quick_symbol("wasmtime_component_val_delete", None, ADDRESS)


def frame_of(store: Store, resources: Resources) -> Frame:
    """The frame of calls in a store, whose resources are those of the guest."""
    return Frame(ctypes.cast(store._context(), ADDRESS).value or 0, resources)


def call(
    function: Any, frame: Frame, types: Sequence[ValueType], arguments: Sequence[Any], *, result: int | None = None
) -> None:
    """Call a function (a `wasmtime.component.Func`). `result` is the address for the value of its result; None for a
    function without one. Raises `Trap` and `WasmtimeError`."""
    values = (ctypes.c_char * (VALUE_SIZE * len(types)))()
    at = ctypes.addressof(values)
    for place, (kind, value) in enumerate(zip(types, arguments, strict=True)):
        kind.lower(frame, at + place * VALUE_SIZE, value)
    try:
        address = ctypes.addressof(function._func)
        require_success(_call(address, frame.context, at, len(types), result, int(result is not None)))
    finally:
        for place in range(len(types)):  # the engine has copies
            _delete(at + place * VALUE_SIZE)
