"""The binary format of components: the numbers of sections and sorts, and how to write their items."""

from __future__ import annotations

from collections.abc import Iterable

CUSTOM, CORE_MODULE, CORE_INSTANCE, CORE_TYPE, COMPONENT, INSTANCE = range(6)
ALIAS, TYPE, CANON, START, IMPORT, EXPORT, VALUE = range(6, 13)
"""The numbers of a component's sections."""
_SECTIONS = "custom, core module, core instance, core type, component, instance, alias, type, canon, start, import"
SECTION_NAMES = (*_SECTIONS.split(", "), "export", "value")

# A sort is two bytes for the core sorts, and one byte for the others. Every sort has its own sequence of indexes.
CORE_FUNC_SORT, CORE_TABLE_SORT, CORE_MEMORY_SORT, CORE_GLOBAL_SORT = b"\0\0", b"\0\1", b"\0\2", b"\0\3"
CORE_TAG_SORT, CORE_TYPE_SORT, CORE_MODULE_SORT, CORE_INSTANCE_SORT = b"\0\4", b"\0\x10", b"\0\x11", b"\0\x12"
FUNC_SORT, VALUE_SORT, TYPE_SORT, COMPONENT_SORT, INSTANCE_SORT = b"\1", b"\2", b"\3", b"\4", b"\5"
SORTS = (
    *(CORE_FUNC_SORT, CORE_TABLE_SORT, CORE_MEMORY_SORT, CORE_GLOBAL_SORT),
    *(CORE_TAG_SORT, CORE_TYPE_SORT, CORE_MODULE_SORT, CORE_INSTANCE_SORT),
    *(FUNC_SORT, VALUE_SORT, TYPE_SORT, COMPONENT_SORT, INSTANCE_SORT),
)

FROM_INSTANCE, FROM_CORE_INSTANCE, FROM_OUTER = range(3)
"""The targets of an alias: an export of an instance, an export of a core instance, an item of an outer component."""

PLAIN_NAME = b"\0"
"""The first byte of the name of an import or export."""


def u32(value: int) -> bytes:
    """A number in LEB128."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def utf8(text: str) -> bytes:
    """A text after its length."""
    encoded = text.encode()
    return u32(len(encoded)) + encoded


def vector(items: Iterable[bytes]) -> bytes:
    """Items after their number."""
    listed = list(items)
    return b"".join((u32(len(listed)), *listed))


def section(number: int, body: bytes | memoryview) -> bytes:
    """A section with its number and size."""
    return b"".join((bytes((number,)), u32(len(body)), body))


def export_alias(sort: bytes, instance: int, exported: str, target: int = FROM_INSTANCE) -> bytes:
    """A section with an alias of an export of an instance, or of a core instance if the target is
    `FROM_CORE_INSTANCE`."""
    return section(ALIAS, b"".join((u32(1), sort, bytes((target,)), u32(instance), utf8(exported))))
