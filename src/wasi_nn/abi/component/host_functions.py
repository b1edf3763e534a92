"""Defines host functions for components, with the lowest cost for a call that the engine allows.

wasmtime-py's `add_func` asks for the types of arguments and results in every call, which costs ten microseconds, and
copies each string three times. Here the engine calls a `ctypes` callback, which reads the arguments in the engine's own
memory. If the engine's symbols or layouts aren't the expected ones, this module uses wasmtime-py's public API: the
calls are slower, and otherwise the same.

A host function gets u32s as ints, and strings as views of their bytes in UTF-8, which it must not keep. It returns an
int for a u32 or u64, None for no result, and for a string either the bytes, or their number and a function that writes
them. It may raise `GuestFault` to trap the guest, and nothing else.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime.component import LinkerInstance

from wasi_nn.abi.wasmtime_c_api import (
    ADDRESS,
    FORGET,
    HAS_ERRORS,
    SIZE,
    keep,
    kept,
    new_error,
    offset_of,
    quick_symbol,
    require_success,
    symbol,
)

U32, U64, STRING = "u32", "u64", "string"

Text = bytes | tuple[int, Callable[[memoryview], None]]
"""A string as a host function returns it: its bytes, or their number and a function that writes them into a view."""

HostFunction = Callable[..., "int | Text | None"]


def define(
    instance: LinkerInstance, name: str, parameters: Sequence[str], result: str | None, function: HostFunction
) -> None:
    """Define a host function in an instance of a component linker, in the fastest way that the engine has.

    `parameters` are of the kinds `U32` and `STRING`. `result` is `U32`, `U64`, `STRING` or None.
    """
    (define_raw if RAW_CALLS else define_public)(instance, name, parameters, result, function)


def define_public(
    instance: LinkerInstance, name: str, parameters: Sequence[str], result: str | None, function: HostFunction
) -> None:
    """`define` through wasmtime-py's public API only."""

    def call(_: object, *arguments: Any) -> Any:
        try:
            value: Any = function(*(item.encode() if isinstance(item, str) else item for item in arguments))
            if result != STRING:
                return value
            return (value if isinstance(value, bytes) else _written(*value)).decode()
        except BaseException as fault:
            # Only the engine's own error will do: wasmtime-py keeps any other exception in a global variable.
            message = str(fault).encode("utf-8", "replace").replace(b"\0", b"?")
            raise wasmtime.WasmtimeError(message.decode()) from None

    instance.add_func(name, call)


def _written(size: int, write: Callable[[memoryview], None]) -> bytearray:
    text = bytearray(size)
    write(memoryview(text))
    return text


def define_raw(
    instance: LinkerInstance, name: str, parameters: Sequence[str], result: str | None, function: HostFunction
) -> None:
    """`define` through a `ctypes` callback."""
    layout = Struct("<" + "".join(_PARAMETER[kind] for kind in parameters))
    # A string is unpacked as two numbers, its size and its address. The last string is converted first, so that the
    # places of those before it stay valid.
    strings = [place for place, kind in enumerate(parameters) if kind == STRING][::-1]
    result_kind = b"" if result is None else bytes((_KIND[result],))
    returns_string = result == STRING
    block_at, result_at = (ctypes.c_char * layout.size).from_address, _RESULT_BLOCK.from_address
    view_of, pack_into = _view_of, _RESULT.pack_into

    def call(values: int, results: int) -> int | None:
        try:
            arguments = layout.unpack_from(block_at(values))
            if strings:
                converted = list(arguments)
                for place in strings:
                    size = converted.pop(place)
                    converted[place] = view_of(converted[place], size, _READ) if size else b""
                value: Any = function(*converted)
            else:
                value = function(*arguments)
            if returns_string:
                _give_string(results, value)
            elif result_kind:
                pack_into(result_at(results), 0, result_kind, value)
        except BaseException as fault:
            return new_error(str(fault))
        return None

    encoded = name.encode()
    error = _add_func(
        ctypes.cast(instance.ptr(), ADDRESS),
        encoded,
        len(encoded),
        ctypes.cast(_ENTER, ADDRESS),
        keep(call),
        ctypes.cast(FORGET, ADDRESS),
    )
    require_success(error)


def _give_string(result: int, text: Text) -> None:
    """Make a result a string. The engine frees the string's memory."""
    vector = result + _PAYLOAD
    if isinstance(text, bytes):
        _byte_vec_new(vector, len(text), text)
    else:
        size, write = text
        _byte_vec_new_uninitialized(vector, size)
        if size:
            write(_view_of(ctypes.c_void_p.from_address(vector + _DATA).value, size, _WRITE))
    # The kind comes last, so that an incomplete result is never a string.
    ctypes.c_uint8.from_address(result).value = _KIND[STRING]


def _enter(key: int, _: int, __: int, values: int, ___: int, results: int, ____: int) -> int | None:
    error: int | None = kept[key](values, results)
    return error


# One C callback serves all functions, as in `core.host_functions`.
_ENTER = ctypes.CFUNCTYPE(ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, SIZE, ADDRESS, SIZE)(_enter)
_READ, _WRITE = 0x100, 0x200
_view_of = ctypes.PYFUNCTYPE(ctypes.py_object, ADDRESS, ctypes.c_ssize_t, ctypes.c_int)(
    ("PyMemoryView_FromMemory", ctypes.pythonapi)
)

# A value has 32 bytes: its kind in the first byte, and from byte 8 on a number, or a string's size and address.
_VALUE_SIZE, _PAYLOAD, _DATA = 32, 8, 8
_PARAMETER = {U32: "8xI20x", STRING: "8xQQ8x"}
_RESULT = Struct("<c7xQ")
_RESULT_BLOCK = ctypes.c_char * _RESULT.size
_KIND = {
    U32: ffi.WASMTIME_COMPONENT_U32.value,
    U64: ffi.WASMTIME_COMPONENT_U64.value,
    STRING: ffi.WASMTIME_COMPONENT_STRING.value,
}

_add_func = symbol(
    "wasmtime_component_linker_instance_add_func",
    ADDRESS,
    *(ADDRESS, ctypes.c_char_p, SIZE, ADDRESS, ADDRESS, ADDRESS),
)
_byte_vec_new = quick_symbol("wasm_byte_vec_new", None, ADDRESS, SIZE, ctypes.c_char_p)
_byte_vec_new_uninitialized = quick_symbol("wasm_byte_vec_new_uninitialized", None, ADDRESS, SIZE)


def _raw_calls_fit() -> bool:
    """Whether the engine has the functions and layouts that `define_raw` needs."""
    try:
        value, union, vector = ffi.wasmtime_component_val_t, ffi.wasmtime_component_valunion_t, ffi.wasm_byte_vec_t
        layout = [ctypes.sizeof(value), offset_of(value, "kind"), offset_of(value, "of")]
        layout += [offset_of(union, kind) for kind in (U32, U64, STRING)]
        layout += [ctypes.sizeof(vector), offset_of(vector, "size"), offset_of(vector, "data")]
    except AttributeError:
        return False
    functions = [_add_func, _byte_vec_new, _byte_vec_new_uninitialized]
    return all(functions) and HAS_ERRORS and layout == [_VALUE_SIZE, 0, _PAYLOAD, 0, 0, 0, 16, 0, _DATA]


RAW_CALLS = _raw_calls_fit()
