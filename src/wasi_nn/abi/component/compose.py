"""Puts the bridge beside a guest component, in memory, before the engine compiles both as one component.

    outer component
      imports   the guest's imports without wasi:nn, wasi-nn:ext and wasi-nn:serving, and the host functions
                (`bridge.HOST`); also the functions for wasi-nn:ext if the guest imports that, and a marker for each
                interface (`bridge.marker`), and the functions for wasi-nn:serving if the guest imports that
      contains  a bridge for each version of wasi:nn that the guest imports, and one for wasi-nn:serving
                the guest, with its bytes unchanged but for the shim (`injection`)
      exports   the guest's exports

The guest's sections up to its last import describe its imports, so the outer component begins with them. Their type and
instance indexes must keep their meaning: for each import that a bridge gives, the outer component instantiates a
placeholder instead. Other items before the last import (modules, functions) don't matter to imports and are left out.
This module validates nothing; the engine validates the result when it compiles it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from wasi_nn.abi.component import bridge
from wasi_nn.abi.component.encoding import (
    ALIAS,
    CANON,
    COMPONENT,
    COMPONENT_SORT,
    CORE_INSTANCE,
    CORE_MODULE,
    CORE_TYPE,
    CUSTOM,
    EXPORT,
    FROM_OUTER,
    FUNC_SORT,
    IMPORT,
    INSTANCE,
    INSTANCE_SORT,
    PLAIN_NAME,
    SECTION_NAMES,
    TYPE,
    TYPE_SORT,
    export_alias,
    section,
    u32,
    utf8,
    vector,
)
from wasi_nn.abi.component.extension import NO_RESULT, PREFIX
from wasi_nn.abi.component.injection import inject
from wasi_nn.abi.component.reading import (
    DECLARED_EXPORT,
    DECLARED_TYPE,
    FUNCTION,
    INSTANCE_TYPE,
    Import,
    aliases,
    exports,
    imports,
)
from wasi_nn.abi.wasm_binary import COMPONENT_HEADER, MODULE_HEADER, Malformed, WasmReader, definitions_of, sections
from wasi_nn.arguments import as_bytes, as_flag, as_text
from wasi_nn.errors import GuestError, printable

FORMAT = "-w9"
"""Names the current way to wrap a guest, for those who keep wrapped guests. Each change of the result changes it."""

_MAX_DEFINITIONS = 4 << 20  # bytes: reading them takes seconds; a guest in Python has 80 thousand
_WITHOUT_MEANING_TO_IMPORTS = {CUSTOM, CORE_MODULE, CORE_INSTANCE, COMPONENT, CANON}


def wrap_component(guest: bytes, name: str = "the guest", *, direct: bool = True) -> bytes:
    """Wrap a guest component in a component that gives it wasi:nn, wasi-nn:ext and wasi-nn:serving; returns the guest
    itself if it imports none of these.

    `guest` is a component's binary, and `name` is its name in messages. With `direct`, the host reads and writes
    tensors in the guest's memory where it can: for that, some functions in the guest are replaced. Raises `GuestError`
    if the binary can't be read, or imports an interface or version of wasi:nn that this host doesn't have.
    """
    guest, name = as_bytes("guest", guest, "the bytes of a component"), as_text("name", name)
    direct = as_flag("direct", direct)
    if guest.startswith(MODULE_HEADER):
        raise GuestError(f"{name} is a core module, not a component: use it as it is, with add_to_linker")
    with _readable(name):
        parts = _parts_of(guest)
        head = _head_of(guest, parts)
        return _wrapped(guest, parts, head, direct=direct) if head.bridges else guest


def bridges_of(guest: bytes, name: str) -> int:
    """The number of bridges that a guest component needs. Raises as `wrap_component` does."""
    with _readable(name):
        return _head_of(guest, _parts_of(guest)).bridges


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except Malformed as error:
        raise GuestError(f"{name} is a component that can't be used: {printable(str(error))}") from None


def _parts_of(guest: bytes) -> list[tuple[int, memoryview]]:
    if definitions_of(guest, _MAX_DEFINITIONS) > _MAX_DEFINITIONS:
        raise Malformed(
            f"it has more than {_MAX_DEFINITIONS} bytes of types, imports and other definitions outside of its core "
            "modules, which is the most that this host reads"
        )
    return list(sections(guest, COMPONENT_HEADER))


def _head_of(guest: bytes, parts: Sequence[tuple[int, memoryview]]) -> _Head:
    end = 1 + max((at for at, (number, _) in enumerate(parts) if number == IMPORT), default=-1)
    head = _Head()
    for number, body in parts[:end]:
        head.add(number, body)
    if head.bridges and PREFIX.encode() in guest:  # at any depth, it would get the functions
        raise Malformed(f"it has a name that begins with {PREFIX}, which is reserved for the host")
    return head


def _wrapped(guest: bytes, parts: Sequence[tuple[int, memoryview]], head: _Head, *, direct: bool) -> bytes:
    outer, counts = head.parts, head.counts
    types = head.types

    def import_instance(name: str, type_: bytes) -> int:
        """Import an instance of a type, which is the body of a type section; returns the index of the instance."""
        nonlocal types
        outer.append(section(TYPE, type_))
        outer.append(section(IMPORT, u32(1) + PLAIN_NAME + utf8(name) + INSTANCE_SORT + u32(types)))
        types += 1
        counts[INSTANCE_SORT] += 1
        return counts[INSTANCE_SORT] - 1

    host = []
    if head.versions:
        host.append((bridge.HOST, INSTANCE_SORT, import_instance(bridge.HOST, _first_type(bridge.host()))))
    extended_host = host
    if head.extensions:
        functions = import_instance(bridge.EXTENSIONS_HOST, _first_type(bridge.extensions_host()))
        extended_host = [*host, (bridge.EXTENSIONS_HOST, INSTANCE_SORT, functions)]
        for interface in head.extensions:
            import_instance(bridge.marker(interface), _marker_type())

    given_instances = {}
    if head.serves:
        functions = import_instance(bridge.SERVING_HOST, _first_type(bridge.serving_host()))
        outer.append(section(COMPONENT, bridge.serving()))
        outer.append(_instantiate(counts, [(bridge.SERVING_HOST, INSTANCE_SORT, functions)]))
        outer.append(export_alias(INSTANCE_SORT, counts[INSTANCE_SORT] - 1, bridge.serving_name()))
        given_instances[bridge.serving_name()] = counts[INSTANCE_SORT]
        counts[INSTANCE_SORT] += 1
    for version in head.versions:
        extended = bool(head.extensions) and version == bridge.VERSIONS[-1]
        outer.append(section(COMPONENT, bridge.binary(version, extended=extended)))
        outer.append(_instantiate(counts, extended_host if extended else host))
        instance = counts[INSTANCE_SORT] - 1
        exported = [bridge.nn_name(interface, version) for interface in bridge.INTERFACES]
        if extended:
            exported += map(bridge.extension_name, head.extensions)
        for name in exported:
            outer.append(export_alias(INSTANCE_SORT, instance, name))
            given_instances[name] = counts[INSTANCE_SORT]
            counts[INSTANCE_SORT] += 1

    outer.append(section(COMPONENT, (inject(guest) if direct else None) or guest))
    arguments = [(name, sort, given_instances.get(name, index)) for name, sort, index in head.arguments]
    outer.append(_instantiate(counts, arguments))
    instance = counts[INSTANCE_SORT] - 1
    # An alias makes a new index, and so does an export.
    counts[TYPE_SORT] = types
    for number, body in parts:
        if number == EXPORT:
            for item in exports(body):
                outer.append(export_alias(item.sort, instance, item.name))
                index = u32(counts[item.sort])
                outer.append(section(EXPORT, u32(1) + PLAIN_NAME + utf8(item.name) + item.sort + index + b"\0"))
                counts[item.sort] += 2
    return b"".join((COMPONENT_HEADER, *outer))


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
        self.extensions: list[str] = []
        """The interfaces of wasi-nn:ext that the guest imports."""
        self.serves = False
        """Whether the guest imports wasi-nn:serving."""
        self.given_names: set[str] = set()
        """The names of the imports that a bridge gives."""

    @property
    def bridges(self) -> int:
        """The number of bridges that the guest needs."""
        return len(self.versions) + self.serves

    def add(self, number: int, body: memoryview) -> None:
        if number in _WITHOUT_MEANING_TO_IMPORTS:
            return
        if number in (CORE_TYPE, TYPE):
            self.parts.append(section(number, body))
            if number == TYPE:
                self.types += WasmReader(body).u32()
        elif number == ALIAS:
            self._add_aliases(body)
        elif number == IMPORT:
            for item in imports(body):
                self._add_import(item)
        else:
            kind = SECTION_NAMES[number] if number < len(SECTION_NAMES) else f"number {number}"
            raise Malformed(f"it has a section of kind {kind} before its last import, which isn't supported")

    def _add_aliases(self, body: memoryview) -> None:
        kept = []
        for item in aliases(body):
            if item.sort == TYPE_SORT:
                self.types += 1
            elif item.sort == INSTANCE_SORT:
                self.counts[item.sort] += 1
            elif item.target != FROM_OUTER:
                continue
            kept.append(item.encoded)
        self.parts.append(section(ALIAS, u32(len(kept)) + b"".join(kept)))

    def _add_import(self, item: Import) -> None:
        if item.name.startswith(bridge.RESERVED):
            raise Malformed(f"it imports {item.name}, which is reserved for the host")
        index = self.types if item.sort == TYPE_SORT else self.counts[item.sort]
        self.arguments.append((item.name, item.sort, index))
        if item.name.startswith(bridge.NAMESPACE):
            self._give(item, _version_of(item), bridge.placeholder())
            return
        if item.name.startswith(bridge.EXTENSIONS_NAMESPACE):
            self.extensions.append(_extension_of(item))
            self._give(item, bridge.VERSIONS[-1], bridge.extensions_placeholder())
            return
        if item.name.startswith(bridge.SERVING_NAMESPACE):
            _require_serving(item)
            self.serves = True
            self._give(item, None, bridge.serving_placeholder())
            return
        self.parts.append(section(IMPORT, u32(1) + item.encoded))
        if item.sort == TYPE_SORT:
            self.types += 1
        else:
            self.counts[item.sort] += 1

    def _give(self, item: Import, version: str | None, placeholder: bytes) -> None:
        """The bridge for a version of wasi:nn gives what is imported. None: that for wasi-nn:serving."""
        if item.name in self.given_names:
            raise Malformed(f"it imports {item.name} twice")
        self.given_names.add(item.name)
        if version is not None and version not in self.versions:
            self.versions.append(version)
        self.parts.append(section(COMPONENT, placeholder))
        self.parts.append(_instantiate(self.counts, []))


def _version_of(item: Import) -> str:
    if item.sort != INSTANCE_SORT or bridge.interface_of(item.name) is None:
        raise Malformed(
            f"it imports {item.name}, and this host has wasi:nn/{{{','.join(bridge.INTERFACES)}}} "
            f"of the versions {', '.join(bridge.VERSIONS)}"
        )
    return item.name.partition("@")[2]


def _extension_of(item: Import) -> str:
    interface = bridge.extension_of(item.name)
    if item.sort != INSTANCE_SORT or interface is None:
        raise Malformed(
            f"it imports {item.name}, and this host has {bridge.EXTENSIONS_NAMESPACE}"
            f"{{{','.join(bridge.EXTENSIONS_INTERFACES)}}} of the version {bridge.EXTENSIONS_VERSION}"
        )
    return interface


def _require_serving(item: Import) -> None:
    if item.sort != INSTANCE_SORT or item.name != bridge.serving_name():
        raise Malformed(f"it imports {item.name}, and this host has {bridge.serving_name()}")


@cache
def _first_type(component: bytes) -> bytes:
    """The body of a component's first type section, which has one type."""
    body = next(body for number, body in sections(component, COMPONENT_HEADER) if number == TYPE)
    assert WasmReader(body).u32() == 1
    return bytes(body)


@cache
def _marker_type() -> bytes:
    """The body of a type section with the type of the instance of a marker."""
    function = bytes((DECLARED_TYPE, FUNCTION)) + u32(0) + NO_RESULT
    export = bytes((DECLARED_EXPORT,)) + PLAIN_NAME + utf8(bridge.ALLOWED) + FUNC_SORT + u32(0)
    return vector([bytes((INSTANCE_TYPE,)) + vector([function, export])])


def _instantiate(counts: Counter[bytes], arguments: Sequence[tuple[str, bytes, int]]) -> bytes:
    """A section that instantiates the component that was defined last."""
    component = counts[COMPONENT_SORT]
    counts[COMPONENT_SORT] += 1
    counts[INSTANCE_SORT] += 1
    encoded = [utf8(name) + sort + u32(index) for name, sort, index in arguments]
    return section(INSTANCE, b"".join((u32(1), b"\0", u32(component), u32(len(encoded)), *encoded)))
