"""Reads the items of a component's sections: imports, aliases, exports and types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple, TypeVar

from wasi_nn.abi.component.encoding import (
    COMPONENT_SORT,
    CORE_MODULE_SORT,
    EXPORT,
    FROM_OUTER,
    FUNC_SORT,
    IMPORT,
    INSTANCE_SORT,
    TYPE_SORT,
)
from wasi_nn.abi.wasm_binary import COMPONENT_HEADER, Malformed, WasmReader, sections


class Import(NamedTuple):
    """An import of a component."""

    name: str
    sort: bytes
    type: int | None
    """The index of the import's type. None: a new resource type."""
    encoded: bytes


class Alias(NamedTuple):
    """An alias: its sort, the kind of its target, and two of instance and name, or number of components and index."""

    sort: bytes
    target: int
    of: int
    item: str | int
    encoded: bytes


class Export(NamedTuple):
    """An export of a component: the sort of the exported item, and its index."""

    name: str
    sort: bytes
    item: int
    before: bytes
    """The encoded export before the index: its name and sort."""
    after: bytes
    """The encoded export behind the index: a type, or a zero."""


def imports(body: memoryview) -> Iterator[Import]:
    """The items of an import section."""
    return _all(body, import_)


def aliases(body: memoryview) -> Iterator[Alias]:
    """The items of an alias section."""
    return _all(body, alias)


def exports(body: memoryview) -> Iterator[Export]:
    """The items of an export section."""
    return _all(body, export)


Item = TypeVar("Item")


def _all(body: memoryview, read: Callable[[WasmReader], Item]) -> Iterator[Item]:
    reader = WasmReader(body)
    for _ in range(reader.u32()):
        yield read(reader)


def import_(reader: WasmReader) -> Import:
    """The import that comes next."""
    start = reader.at
    name = reader.extern_name()
    sort = reader.sort()
    if sort not in (TYPE_SORT, CORE_MODULE_SORT, FUNC_SORT, COMPONENT_SORT, INSTANCE_SORT):
        raise Malformed(f"its import {name} is of an unknown sort ({sort.hex()})")
    # A type is equal to an earlier type, or a resource.
    type_ = reader.u32() if sort != TYPE_SORT or reader.byte() == 0 else None
    return Import(name, sort, type_, reader.since(start))


def alias(reader: WasmReader) -> Alias:
    """The alias that comes next."""
    start = reader.at
    sort, target, of = reader.sort(), reader.byte(), reader.u32()
    if target > FROM_OUTER:
        raise Malformed(f"an alias has an unknown target ({target})")
    item = reader.u32() if target == FROM_OUTER else reader.name()
    return Alias(sort, target, of, item, reader.since(start))


def export(reader: WasmReader) -> Export:
    """The export that comes next."""
    start = reader.at
    name, sort = reader.extern_name(), reader.sort()
    before, item, start = reader.since(start), reader.u32(), reader.at
    if reader.byte() == 1:  # it has an ascribed type
        ascribed = reader.sort()
        if ascribed != TYPE_SORT or reader.byte() == 0:
            reader.u32()
    return Export(name, sort, item, before, reader.since(start))


def names_of(component: bytes) -> tuple[list[str], list[str]]:
    """The names of a component's imports and exports, as far as it can be read."""
    imported: list[str] = []
    exported: list[str] = []
    with suppress(Malformed):
        for number, body in sections(component, COMPONENT_HEADER):
            if number == IMPORT:
                imported += (item.name for item in imports(body))
            elif number == EXPORT:
                exported += (item.name for item in exports(body))
    return imported, exported


# Types

RESOURCE, FUNCTION, INSTANCE_TYPE = 0x3F, 0x40, 0x42
_COMPONENT_TYPE, _ASYNC_FUNCTION = 0x41, 0x43
_PRIMITIVES = (0x64, *range(0x73, 0x80))

DECLARED_TYPE, DECLARED_ALIAS, DECLARED_IMPORT, DECLARED_EXPORT = 1, 2, 3, 4
"""The kinds of declarations in the type of a component or instance. An instance has no imports."""


def skip_type(reader: WasmReader) -> None:
    """Read a type that isn't a resource. Raises `Malformed` for a form that this host doesn't know."""
    form = reader.byte()
    if form in (FUNCTION, _ASYNC_FUNCTION):
        skip_fields(reader)
        skip_result(reader)
    elif form in (_COMPONENT_TYPE, INSTANCE_TYPE):
        for _ in range(reader.u32()):
            skip_declaration(reader)
    elif form in _VALUE_TYPES:
        _VALUE_TYPES[form](reader)
    elif form not in _PRIMITIVES:
        raise Malformed(f"it has a type of an unknown form ({form})")


def skip_result(reader: WasmReader) -> None:
    """Read the result of a function: a type, or none."""
    if reader.byte() == 0:
        skip_value(reader)
    elif reader.byte() != 0:
        raise Malformed("it has a function with named results")


def skip_value(reader: WasmReader) -> None:
    """Read the type of a value: an index, or a primitive type, which is a byte of the same encoding."""
    reader.u32()


def skip_fields(reader: WasmReader) -> None:
    """Read names with the types of their values: a function's parameters, or a record's fields."""
    for _ in range(reader.u32()):
        reader.name()
        skip_value(reader)


def skip_declaration(reader: WasmReader) -> tuple[int, str, bytes, int | None]:
    """Read a declaration in the type of a component or instance. Returns its kind, and for an import or export its
    name, sort, and the index of its type, as far as they have one. An alias has only a sort."""
    kind = reader.byte()
    if kind == DECLARED_TYPE:
        if reader.content[reader.at : reader.at + 1] == bytes((RESOURCE,)):
            raise Malformed("a resource is defined in the type of a component or instance")
        skip_type(reader)
        return kind, "", TYPE_SORT, None
    if kind == DECLARED_ALIAS:
        return kind, "", alias(reader).sort, None
    if kind not in (DECLARED_IMPORT, DECLARED_EXPORT):
        raise Malformed(f"it has a declaration of an unknown form ({kind})")
    name, sort = reader.extern_name(), reader.sort()
    return kind, name, sort, reader.u32() if sort != TYPE_SORT or reader.byte() == 0 else None


def _skip_variant(reader: WasmReader) -> None:
    for _ in range(reader.u32()):
        reader.name()
        _skip_optional(reader)
        if reader.byte() != 0:
            raise Malformed("it has a variant with a case that refines another")


def _skip_names(reader: WasmReader) -> None:
    for _ in range(reader.u32()):
        reader.name()


def _skip_values(reader: WasmReader) -> None:
    for _ in range(reader.u32()):
        skip_value(reader)


def _skip_optional(reader: WasmReader) -> None:
    if reader.byte():
        skip_value(reader)


def _skip_two_optional(reader: WasmReader) -> None:
    _skip_optional(reader)
    _skip_optional(reader)


def _skip_fixed_list(reader: WasmReader) -> None:
    skip_value(reader)
    reader.u32()


_VALUE_TYPES: dict[int, Callable[[WasmReader], None]] = {
    0x72: skip_fields,  # record
    0x71: _skip_variant,
    0x70: skip_value,  # list
    0x6F: _skip_values,  # tuple
    0x6E: _skip_names,  # flags
    0x6D: _skip_names,  # enum
    0x6B: skip_value,  # option
    0x6A: _skip_two_optional,  # result
    0x69: skip_value,  # own
    0x68: skip_value,  # borrow
    0x67: _skip_fixed_list,
    0x66: _skip_optional,  # stream
    0x65: _skip_optional,  # future
}
