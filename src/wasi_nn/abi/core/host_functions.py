"""Defines host functions for core modules, with the lowest cost for a call that the engine allows.

`wasmtime.Linker.define_func` builds Python values from types in every call, which costs 12 to 20 microseconds. The
engine's C API also has functions with raw 16-byte values as arguments. wasmtime-py binds them but doesn't wrap them, so
this module calls them with `ctypes`. If the engine's symbols or layouts aren't the expected ones, this module uses
wasmtime-py's public API: the calls are slower, and otherwise the same.

A host function is `function(memory, *arguments) -> result`. Arguments and results are u32 or u64; a function without a
result returns None. `memory` is the caller's memory, or None if the caller exports none. The function may raise
`GuestFault` to trap the guest, and nothing else.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from struct import Struct
from typing import Any

import wasmtime
from wasmtime import FuncType, Linker, Memory, ValType, _ffi as ffi

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.core.guest_memory import GuestMemory
from wasi_nn.abi.wasmtime_c_api import (
    ADDRESS,
    FORGET,
    SIZE,
    keep,
    kept,
    offset_of,
    quick_symbol,
    require_success,
    symbol,
)

HostFunction = Callable[..., int | None]


class Callers:
    """The instances that call some host functions."""

    are_one = False
    """Whether they are one instance. Its memory is then looked for only once, which saves half of a call's time."""


def define(
    linker: Linker,
    module: str,
    name: str,
    signature: FuncType,
    function: HostFunction,
    callers: Callers | None = None,
) -> None:
    """Define a host function in a linker, in the fastest way that the engine has. The signature has integers only, and
    at most one result, an i32. `callers` call it one at a time; without them, several guests may call it at once, each
    on its thread."""
    if RAW_CALLS:
        define_raw(linker, module, name, signature, function, callers)
    else:
        define_public(linker, module, name, signature, function)


def i32_signature(parameters: int, results: int) -> FuncType:
    """A signature of i32s only."""
    return FuncType([ValType.i32()] * parameters, [ValType.i32()] * results)


def define_public(linker: Linker, module: str, name: str, signature: FuncType, function: HostFunction) -> None:
    """`define` through wasmtime-py's public API only."""
    masks = [2**64 - 1 if parameter == ValType.i64() else 2**32 - 1 for parameter in signature.params]

    def call(caller: wasmtime.Caller, *arguments: int) -> int | None:
        exported = caller.get("memory")
        callers_memory = None
        if isinstance(exported, Memory):
            size = exported.data_len(caller)
            callers_memory = GuestMemory()  # other guests may call meanwhile
            callers_memory.look(ctypes.addressof(exported.data_ptr(caller).contents) if size else 0, size)
        try:
            result = function(
                callers_memory, *(argument & mask for argument, mask in zip(arguments, masks, strict=True))
            )
        except GuestFault as fault:
            raise wasmtime.Trap(str(fault)) from None
        return None if result is None else ctypes.c_int32(result).value

    linker.define_func(module, name, signature, call, access_caller=True)


def define_raw(
    linker: Linker,
    module: str,
    name: str,
    signature: FuncType,
    function: HostFunction,
    callers: Callers | None = None,
) -> None:
    """`define` through the engine's unchecked calls."""
    # An argument is the first bytes of its raw value. The result takes the place of the first argument.
    parameters = signature.params
    arguments = Struct("<" + "".join("Q8x" if parameter == ValType.i64() else "I12x" for parameter in parameters))
    block_at, result_at = (ctypes.c_char * arguments.size).from_address, ctypes.c_uint32.from_address
    memory_of = _memory_of_any if callers is None else _memory_of_one_at_a_time(callers)

    def call(caller: int, values: int) -> int | None:
        try:
            result = function(memory_of(caller), *arguments.unpack_from(block_at(values)))
        except BaseException as fault:
            message = str(fault).encode("utf-8", "replace")
            trap: int = _trap_new(message, len(message))
            return trap
        if result is not None:
            result_at(values).value = result
        return None

    error = _linker_define_func_unchecked(
        ctypes.cast(linker.ptr(), ADDRESS),
        module.encode(),
        len(module.encode()),
        name.encode(),
        len(name.encode()),
        ctypes.cast(signature.ptr(), ADDRESS),
        ctypes.cast(_ENTER, ADDRESS),
        keep(call),
        ctypes.cast(FORGET, ADDRESS),
    )
    require_success(error)


def _memory_of_any(caller: int) -> GuestMemory | None:
    """The memory of a caller. Others may call meanwhile, so that nothing is kept for a further call."""
    item: Any = ffi.wasmtime_extern_t()  # whose fields are ints, where wasmtime-py declares types of C
    address = ctypes.addressof(item)
    if not _caller_export_get(caller, b"memory", 6, address) or item.kind != _MEMORY:
        return None
    context, memory_address = _caller_context(caller), address + _OF
    memory = GuestMemory()
    memory.look(_memory_data(context, memory_address) or 0, _memory_data_size(context, memory_address))
    return memory


def _memory_of_one_at_a_time(callers: Callers) -> Callable[[int], GuestMemory | None]:
    """A function that gives the memory of a caller, and keeps what it found for the next call."""
    memory = GuestMemory()
    context: int | None = None  # of the store, if the last caller has a memory
    item = ffi.wasmtime_extern_t()
    item_address = ctypes.addressof(item)
    memory_address = item_address + _OF
    kind = ctypes.c_uint8.from_buffer(item)  # keeps `item` alive as long as the function
    find_export, context_of = _caller_export_get, _caller_context
    data_of, size_of = _memory_data, _memory_data_size

    def memory_of(caller: int) -> GuestMemory | None:
        nonlocal context
        if context is None or not callers.are_one:
            is_there = find_export(caller, b"memory", 6, item_address) and kind.value == _MEMORY
            context = context_of(caller) if is_there else None
            if is_there:
                memory.look(data_of(context, memory_address) or 0, size_of(context, memory_address))
        elif size_of(context, memory_address) != memory.size:  # a memory moves only when it grows
            memory.look(data_of(context, memory_address) or 0, size_of(context, memory_address))
        return None if context is None else memory

    return memory_of


def _enter(key: int, caller: int, values: int, _: int) -> int | None:
    result: int | None = kept[key](caller, values)
    return result


# One C callback serves all functions, and the key tells them apart: no run of a guest makes or frees a C callback.
_ENTER = ctypes.CFUNCTYPE(ADDRESS, ADDRESS, ADDRESS, ADDRESS, SIZE)(_enter)
_MEMORY = ffi.WASMTIME_EXTERN_MEMORY.value
_OF: int = getattr(getattr(ffi.wasmtime_extern_t, "of", None), "offset", 0)


def _raw_calls_fit() -> bool:
    """Whether the engine has the functions and layouts that `define_raw` needs."""
    functions = [_linker_define_func_unchecked, _caller_export_get, _caller_context]
    functions += [_memory_data, _memory_data_size, _trap_new]
    try:
        value, item = ffi.wasmtime_val_raw_t, ffi.wasmtime_extern_t
        kind: Any = item.kind
        layout = ctypes.sizeof(value), offset_of(value, "i32"), offset_of(item, "kind"), kind.size
    except AttributeError:
        return False
    return all(functions) and layout == (16, 0, 0, 1)


_linker_define_func_unchecked = symbol(
    "wasmtime_linker_define_func_unchecked",
    ADDRESS,
    *(ADDRESS, ctypes.c_char_p, SIZE, ctypes.c_char_p, SIZE, ADDRESS, ADDRESS, ADDRESS, ADDRESS),
)
_caller_export_get = quick_symbol("wasmtime_caller_export_get", ctypes.c_bool, ADDRESS, ctypes.c_char_p, SIZE, ADDRESS)
_caller_context = quick_symbol("wasmtime_caller_context", ADDRESS, ADDRESS)
_memory_data = quick_symbol("wasmtime_memory_data", ADDRESS, ADDRESS, ADDRESS)
_memory_data_size = quick_symbol("wasmtime_memory_data_size", SIZE, ADDRESS, ADDRESS)
_trap_new = quick_symbol("wasmtime_trap_new", ADDRESS, ctypes.c_char_p, SIZE)

RAW_CALLS = _raw_calls_fit()
