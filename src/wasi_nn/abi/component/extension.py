"""Adds the functions that the shim calls to the type of an instance of wasi:nn, as a guest imports it."""

from __future__ import annotations

from typing import NamedTuple

from wasi_nn.abi.component.encoding import FUNC_SORT, PLAIN_NAME, TYPE_SORT, u32, utf8, vector
from wasi_nn.abi.component.reading import (
    DECLARED_EXPORT,
    DECLARED_TYPE,
    FUNCTION,
    INSTANCE_TYPE,
    skip_declaration,
    skip_result,
    skip_value,
)
from wasi_nn.abi.wasm_binary import Malformed, WasmReader

PREFIX = "wasi-nn-direct-"
"""The beginning of the names of all functions that the shim calls. A guest must not import them itself."""

_U32, _U64 = b"\x79", b"\x77"  # primitive types
_NO_RESULT = b"\1\0"


class _Function(NamedTuple):
    """A function for the shim, as in `guests/build_bridge.py`. All parameters are u32s, but for a tensor in front."""

    name: str
    takes_self_of: str | None
    """The method of wasi:nn whose first parameter this function has, under the name `tensor`."""
    parameters: tuple[str, ...]
    result: bytes | str
    """The encoded result, or the function of wasi:nn that has the same result."""


_FUNCTIONS = {
    "tensor": (
        _Function("mark", None, (), b"\0" + _U64),
        _Function("find", None, ("memory", "pages"), b"\0" + _U32),
        _Function("new", None, ("memory", "ty", "data", "size", "dims", "rank"), "[constructor]tensor"),
        _Function("size", "[method]tensor.data", (), b"\0" + _U32),
        _Function("read", "[method]tensor.data", ("memory", "to", "size"), _NO_RESULT),
    ),
    "graph": (_Function("load", None, ("memory", "encoding", "target", "builders", "count"), "load"),),
}


def extended(reader: WasmReader, interface: str) -> bytes:
    """The type of an instance of an interface of wasi:nn with the functions for the shim behind its own.

    The reader is behind the type's form. Raises `Malformed` if the type isn't that of the interface.
    """
    count, start, types = reader.u32(), reader.at, 0
    declared: dict[int, tuple[int, int]] = {}  # where the types' declarations begin and end
    functions: dict[str, int] = {}
    for _ in range(count):
        begin = reader.at
        kind, name, sort, index = skip_declaration(reader)
        if kind == DECLARED_TYPE:
            declared[types] = begin + 1, reader.at
        elif kind == DECLARED_EXPORT and sort == FUNC_SORT and index is not None:
            functions[name] = index
        types += sort == TYPE_SORT
    own = reader.since(start)

    added = []
    for function in _FUNCTIONS[interface]:
        parameters = [utf8(label) + _U32 for label in function.parameters]
        if function.takes_self_of is not None:
            parameters.insert(0, utf8("tensor") + _parts_of(reader, declared, functions, function.takes_self_of)[0])
        result = function.result
        if isinstance(result, str):
            result = _parts_of(reader, declared, functions, result)[1]
        added.append(bytes((DECLARED_TYPE, FUNCTION)) + vector(parameters) + result)
        added.append(bytes((DECLARED_EXPORT,)) + PLAIN_NAME + utf8(PREFIX + function.name) + FUNC_SORT + u32(types))
        types += 1
    return bytes((INSTANCE_TYPE,)) + u32(count + len(added)) + own + b"".join(added)


def _parts_of(
    reader: WasmReader, declared: dict[int, tuple[int, int]], functions: dict[str, int], name: str
) -> tuple[bytes, bytes]:
    """The type of the first parameter of a declared function, and the function's result, both encoded."""
    begin, end = declared.get(functions.get(name, -1), (0, 0))
    function = WasmReader(reader.content[begin:end])
    if not end or function.byte() != FUNCTION:
        raise Malformed(f"its type of wasi:nn has no function {name}")
    first = b""
    for place in range(function.u32()):
        function.name()
        start = function.at
        skip_value(function)
        if place == 0:
            first = function.since(start)
    start = function.at
    skip_result(function)
    return first, function.since(start)
