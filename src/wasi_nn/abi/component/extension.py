"""Adds the functions that the shim calls to the type of an instance of wasi:nn, as a guest imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wasi_nn.abi.component import bridge
from wasi_nn.abi.component.encoding import FUNC_SORT, IMPORT, INSTANCE_SORT, PLAIN_NAME, TYPE_SORT, u32, utf8, vector
from wasi_nn.abi.component.reading import (
    DECLARED_EXPORT,
    DECLARED_TYPE,
    FUNCTION,
    INSTANCE_TYPE,
    imports,
    skip_declaration,
    skip_result,
    skip_value,
)
from wasi_nn.abi.wasm_binary import Malformed, WasmReader

PREFIX = "wasi-nn-direct-"
"""The beginning of the names of all functions that the shim calls. A guest must not import them itself."""

_U32, _U64 = b"\x79", b"\x77"  # primitive types
NO_RESULT = b"\1\0"
"""The encoded result of a function without one."""


class _Function(NamedTuple):
    """A function for the shim, as in `guests/build_bridge.py`. All parameters are u32s, but for a tensor in front."""

    name: str
    parameters: tuple[str, ...]
    result: bytes
    """The encoded result. Empty: that of `like`."""
    like: str | None = None
    """The function of wasi:nn whose place the shim takes by means of this one. None: of any."""
    takes_tensor: bool = False
    """Whether the first parameter is that of `like`, under the name `tensor`."""


_FUNCTIONS = {
    "tensor": (
        _Function("mark", (), b"\0" + _U64),
        _Function("find", ("memory", "pages"), b"\0" + _U32),
        _Function("keeps", ("rank", "size"), b"\0" + _U32, "[constructor]tensor"),
        _Function("new", ("memory", "ty", "data", "size", "dims", "rank"), b"", "[constructor]tensor"),
        _Function("size", (), b"\0" + _U32, "[method]tensor.data", True),
        _Function("read", ("memory", "to", "size"), NO_RESULT, "[method]tensor.data", True),
    ),
    "graph": (_Function("load", ("memory", "encoding", "target", "builders", "count"), b"", "load"),),
}


def types_to_extend(parts: Sequence[tuple[int, memoryview]]) -> dict[int, str]:
    """The interfaces of wasi:nn that have functions for the shim, by the types of their imports."""
    items = [item for number, body in parts if number == IMPORT for item in imports(body)]
    types = [item.type for item in items if item.sort == INSTANCE_SORT]
    found: dict[int, str] = {}
    for item in items:
        interface = bridge.interface_of(item.name)
        if item.sort == INSTANCE_SORT and interface in _FUNCTIONS and item.type is not None:
            if len(found) == len(bridge.VERSIONS) * len(_FUNCTIONS):
                raise Malformed("it imports an interface of wasi:nn twice")
            if types.count(item.type) > 1:
                raise Malformed("two of its imports have the same type")
            found[item.type] = interface
    return found


def extended(reader: WasmReader, interface: str) -> bytes:
    """The type of an instance of an interface of wasi:nn with the functions for the shim behind its own.

    The reader is behind the type's form. Only functions for those that the guest imports are added.
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
        like = _signature(reader, declared.get(functions.get(function.like or "", -1)))
        if function.like is not None and like is None:
            continue  # the guest doesn't import the function, so it needs no other for it
        parameters = [utf8(label) + _U32 for label in function.parameters]
        if function.takes_tensor and like is not None:
            parameters.insert(0, utf8("tensor") + like.first)
        result = function.result or (b"" if like is None else like.result)
        added.append(bytes((DECLARED_TYPE, FUNCTION)) + vector(parameters) + result)
        added.append(bytes((DECLARED_EXPORT,)) + PLAIN_NAME + utf8(PREFIX + function.name) + FUNC_SORT + u32(types))
        types += 1
    return bytes((INSTANCE_TYPE,)) + u32(count + len(added)) + own + b"".join(added)


class _Signature(NamedTuple):
    """The type of the first parameter of a function, and its result, both encoded."""

    first: bytes
    result: bytes


def _signature(reader: WasmReader, place: tuple[int, int] | None) -> _Signature | None:
    if place is None:
        return None
    function = WasmReader(reader.content[slice(*place)])
    if function.byte() != FUNCTION:
        return None
    first = b""
    for parameter in range(function.u32()):
        function.name()
        start = function.at
        skip_value(function)
        if parameter == 0:
            first = function.since(start)
    start = function.at
    skip_result(function)
    return _Signature(first, function.since(start))
