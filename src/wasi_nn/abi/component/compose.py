"""Puts the bridge beside a guest component, in memory, before the engine compiles both as one component.

    outer component
      imports   the guest's imports without wasi:nn, and the host functions (`bridge.HOST`)
      contains  a bridge for each version of wasi:nn that the guest imports
                the guest, with its bytes unchanged
      exports   the guest's exports

The guest's sections up to its last import describe its imports, so the outer component begins with them. Their type and
instance indexes must keep their meaning: for each import of wasi:nn, the outer component instantiates a placeholder
instead. Other items before the last import (modules, functions) don't matter to imports and are left out. This module
validates nothing; the engine validates the result when it compiles it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from wasi_nn.abi.component import bridge
from wasi_nn.abi.wasm_binary import COMPONENT_HEADER, Malformed, WasmReader, sections
from wasi_nn.arguments import as_bytes, as_text
from wasi_nn.errors import GuestError, printable

_NAMESPACE = "wasi:nn/"

_CUSTOM, _CORE_MODULE, _CORE_INSTANCE, _CORE_TYPE, _COMPONENT, _INSTANCE = range(6)
_ALIAS, _TYPE, _CANON, _START, _IMPORT, _EXPORT, _VALUE = range(6, 13)
_SECTIONS = "custom, core module, core instance, core type, component, instance, alias, type, canon, start, import"
_SECTION_NAMES = (*_SECTIONS.split(", "), "export", "value")
_WITHOUT_MEANING_TO_IMPORTS = {_CUSTOM, _CORE_MODULE, _CORE_INSTANCE, _COMPONENT, _CANON}

# A sort is two bytes for the core sorts, and one byte for the others.
_CORE_MODULE_SORT, _FUNC_SORT, _TYPE_SORT, _COMPONENT_SORT, _INSTANCE_SORT = b"\0\x11", b"\1", b"\3", b"\4", b"\5"
_OUTER = 2
_PLAIN_NAME = b"\0"


class _Import(NamedTuple):
    name: str
    sort: bytes
    encoded: bytes


def wrap_component(guest: bytes, name: str = "the guest") -> bytes:
    """Wrap a guest component in a component that gives it wasi:nn; returns the guest itself if it imports no wasi:nn.

    `guest` is a component's binary, and `name` is its name in messages. Raises `GuestError` if the binary can't be
    read, or imports an interface or version of wasi:nn that this host doesn't have.
    """
    guest, name = as_bytes("guest", guest, "the bytes of a component"), as_text("name", name)
    try:
        return _wrap(guest)
    except Malformed as error:
        raise GuestError(f"{name} is a component that can't be used: {printable(str(error))}") from None


def _wrap(guest: bytes) -> bytes:
    parts = list(sections(guest, COMPONENT_HEADER))
    end = 1 + max((at for at, (number, _) in enumerate(parts) if number == _IMPORT), default=-1)
    head = _Head()
    for number, body in parts[:end]:
        head.add(number, body)
    if not head.versions:
        return guest
    outer, counts = head.parts, head.counts

    outer.append(_section(_TYPE, _host_type()))
    host_import = _PLAIN_NAME + _name(bridge.HOST) + _INSTANCE_SORT + _u32(head.types)
    outer.append(_section(_IMPORT, _u32(1) + host_import))
    host = counts[_INSTANCE_SORT]
    counts[_INSTANCE_SORT] += 1

    nn_instances = {}
    for version in head.versions:
        outer.append(_section(_COMPONENT, bridge.binary(version)))
        outer.append(_instantiate(counts, [(bridge.HOST, _INSTANCE_SORT, host)]))
        instance = counts[_INSTANCE_SORT] - 1
        for interface in bridge.INTERFACES:
            exported = _nn_name(interface, version)
            outer.append(_export_alias(_INSTANCE_SORT, instance, exported))
            nn_instances[exported] = counts[_INSTANCE_SORT]
            counts[_INSTANCE_SORT] += 1

    outer.append(_section(_COMPONENT, guest))
    arguments = [(name, sort, nn_instances.get(name, index)) for name, sort, index in head.arguments]
    outer.append(_instantiate(counts, arguments))
    instance = counts[_INSTANCE_SORT] - 1
    # An alias makes a new index, and so does an export.
    counts[_TYPE_SORT] = head.types + 1
    for number, body in parts:
        if number == _EXPORT:
            for name, sort in _exports(body):
                outer.append(_export_alias(sort, instance, name))
                index = _u32(counts[sort])
                outer.append(_section(_EXPORT, _u32(1) + _PLAIN_NAME + _name(name) + sort + index + b"\0"))
                counts[sort] += 2
    return b"".join((COMPONENT_HEADER, *outer))


def names_of(component: bytes) -> tuple[list[str], list[str]]:
    """The names of a component's imports and exports, as far as it can be read."""
    imports: list[str] = []
    exports: list[str] = []
    with suppress(Malformed):
        for number, body in sections(component, COMPONENT_HEADER):
            if number == _IMPORT:
                imports += (item.name for item in _imports(body))
            elif number == _EXPORT:
                exports += (name for name, _ in _exports(body))
    return imports, exports


class _Head:
    """The beginning of the outer component, up to the end of the guest's imports."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.counts: Counter[bytes] = Counter()
        """The number of items of each sort, without types."""
        self.types = 0
        self.arguments: list[tuple[str, bytes, int]] = []
        """The arguments for the guest's instantiation: the name, sort and index of each import."""
        self.versions: list[str] = []

    def add(self, number: int, body: memoryview) -> None:
        if number in _WITHOUT_MEANING_TO_IMPORTS:
            return
        if number in (_CORE_TYPE, _TYPE):
            self.parts.append(_section(number, body))
            if number == _TYPE:
                self.types += WasmReader(body).u32()
        elif number == _ALIAS:
            self._add_aliases(body)
        elif number == _IMPORT:
            for item in _imports(body):
                self._add_import(item)
        else:
            kind = _SECTION_NAMES[number] if number < len(_SECTION_NAMES) else f"number {number}"
            raise Malformed(f"it has a section of kind {kind} before its last import, which isn't supported")

    def _add_aliases(self, body: memoryview) -> None:
        kept = []
        for sort, target, encoded in _aliases(body):
            if sort == _TYPE_SORT:
                self.types += 1
            elif sort == _INSTANCE_SORT:
                self.counts[sort] += 1
            elif target != _OUTER:
                continue
            kept.append(encoded)
        self.parts.append(_section(_ALIAS, _u32(len(kept)) + b"".join(kept)))

    def _add_import(self, item: _Import) -> None:
        if item.name == bridge.HOST:
            raise Malformed(f"it imports {bridge.HOST}, which is reserved for the host")
        index = self.types if item.sort == _TYPE_SORT else self.counts[item.sort]
        self.arguments.append((item.name, item.sort, index))
        if item.name.startswith(_NAMESPACE):
            version = _version_of(item)
            if version not in self.versions:
                self.versions.append(version)
            self.parts.append(_section(_COMPONENT, bridge.placeholder()))
            self.parts.append(_instantiate(self.counts, []))
            return
        self.parts.append(_section(_IMPORT, _u32(1) + item.encoded))
        if item.sort == _TYPE_SORT:
            self.types += 1
        else:
            self.counts[item.sort] += 1


def _version_of(item: _Import) -> str:
    interface, _, version = item.name.removeprefix(_NAMESPACE).partition("@")
    if item.sort != _INSTANCE_SORT or interface not in bridge.INTERFACES or version not in bridge.VERSIONS:
        raise Malformed(
            f"it imports {item.name}, and this host has wasi:nn/{{{','.join(bridge.INTERFACES)}}} "
            f"of the versions {', '.join(bridge.VERSIONS)}"
        )
    return version


def _nn_name(interface: str, version: str) -> str:
    return f"{_NAMESPACE}{interface}@{version}"


def _imports(body: memoryview) -> Iterator[_Import]:
    reader = WasmReader(body)
    for _ in range(reader.u32()):
        start = reader.at
        name = reader.extern_name()
        sort = reader.sort()
        if sort == _TYPE_SORT:
            if reader.byte() == 0:  # equal to an earlier type; else a resource
                reader.u32()
        elif sort in (_CORE_MODULE_SORT, _FUNC_SORT, _COMPONENT_SORT, _INSTANCE_SORT):
            reader.u32()
        else:
            raise Malformed(f"its import {name} is of an unknown sort ({sort.hex()})")
        yield _Import(name, sort, reader.since(start))


def _aliases(body: memoryview) -> Iterator[tuple[bytes, int, bytes]]:
    """The aliases: sort, kind of target, and bytes."""
    reader = WasmReader(body)
    for _ in range(reader.u32()):
        start = reader.at
        sort, target = reader.sort(), reader.byte()
        reader.u32()
        if target == _OUTER:
            reader.u32()
        elif target < _OUTER:
            reader.take(reader.u32())
        else:
            raise Malformed(f"an alias has an unknown target ({target})")
        yield sort, target, reader.since(start)


def _exports(body: memoryview) -> Iterator[tuple[str, bytes]]:
    """The exports: name and sort."""
    reader = WasmReader(body)
    for _ in range(reader.u32()):
        name = reader.extern_name()
        sort = reader.sort()
        reader.u32()
        if reader.byte() == 1:  # it has an ascribed type
            ascribed = reader.sort()
            if ascribed != _TYPE_SORT or reader.byte() == 0:
                reader.u32()
        yield name, sort


@cache
def _host_type() -> bytes:
    """The body of a type section with one type: that of the instance of host functions."""
    body = next(body for number, body in sections(bridge.host(), COMPONENT_HEADER) if number == _TYPE)
    assert WasmReader(body).u32() == 1
    return bytes(body)


def _section(number: int, body: bytes | memoryview) -> bytes:
    return b"".join((bytes((number,)), _u32(len(body)), body))


def _instantiate(counts: Counter[bytes], arguments: Sequence[tuple[str, bytes, int]]) -> bytes:
    """A section that instantiates the component that was defined last."""
    component = counts[_COMPONENT_SORT]
    counts[_COMPONENT_SORT] += 1
    counts[_INSTANCE_SORT] += 1
    encoded = [_name(name) + sort + _u32(index) for name, sort, index in arguments]
    return _section(_INSTANCE, b"".join((_u32(1), b"\0", _u32(component), _u32(len(encoded)), *encoded)))


def _export_alias(sort: bytes, instance: int, name: str) -> bytes:
    return _section(_ALIAS, _u32(1) + sort + b"\0" + _u32(instance) + _name(name))


def _name(text: str) -> bytes:
    encoded = text.encode()
    return _u32(len(encoded)) + encoded


def _u32(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
