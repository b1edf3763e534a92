"""Reads WebAssembly binaries: the sections of modules and components, and the numbers and names in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

MODULE_HEADER = b"\0asm\x01\0\0\0"
"""The first bytes of a core module."""
COMPONENT_HEADER = b"\0asm\x0d\0\x01\0"
"""The first bytes of a component."""

_LAST_SECTION = 13  # the highest number of a section
_SECTION_COUNTS = 32  # bytes: reading a section takes about as long as so many
_CUSTOM = 0
_MODULES_IMPORTS, _MODULES_MEMORIES, _MODULES_EXPORTS = 2, 5, 7
_FUNCTION, _TABLE, _MEMORY, _GLOBAL, _TAG = range(5)
_HAS_MAXIMUM = 1
_COMPONENTS_MODULE, _COMPONENTS_COMPONENT, _COMPONENTS_CANON = 1, 4, 8
# The kinds of canonical definitions, and their options.
_LIFT, _LOWER, _ABOUT_RESOURCES = 0, 1, (2, 3, 4)
_LAST_ENCODING, _ASYNC, _CALLBACK = 2, 6, 7


class Malformed(Exception):
    """The bytes aren't a valid binary. The text says why, and "it" is the binary."""


class WasmReader:
    """Reads bytes from first to last. Raises `Malformed` where they are invalid."""

    def __init__(self, content: bytes | memoryview) -> None:
        self.content = memoryview(content)
        self.at = 0

    def take(self, size: int) -> memoryview:
        """The next `size` bytes."""
        end = self.at + size
        if end > len(self.content):
            left = len(self.content) - self.at
            raise Malformed(f"it is cut short or damaged: {size} bytes should follow, and {left} are left")
        taken = self.content[self.at : end]
        self.at = end
        return taken

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def u32(self) -> int:
        """A u32 in LEB128."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift > 28:
                raise Malformed("it has a number of more than 32 bits")
        return value

    def name(self) -> str:
        """A UTF-8 text after its length."""
        try:
            return bytes(self.take(self.u32())).decode()
        except UnicodeDecodeError:
            raise Malformed("it has a name that isn't UTF-8") from None

    def extern_name(self) -> str:
        """The name of an import or export of a component."""
        form = self.byte()
        if form > 1:
            raise Malformed(f"it has a name of an unknown form ({form})")
        return self.name()

    def sort(self) -> bytes:
        """The sort of an item: two bytes for the core sorts, one byte for the others."""
        sort = self.byte()
        return bytes((sort, self.byte())) if sort == 0 else bytes((sort,))

    def since(self, start: int) -> bytes:
        """The bytes that were read since the reader was at `start`."""
        return bytes(self.content[start : self.at])


def sections(content: bytes | memoryview, header: bytes) -> Iterator[tuple[int, memoryview]]:
    """The sections of a module or a component: number and content."""
    reader = WasmReader(content)
    if reader.take(len(header)) != header:
        raise Malformed("its first bytes are those of another format")
    while reader.at < len(reader.content):
        number = reader.byte()
        yield number, reader.take(reader.u32())


def all_sections(content: bytes | memoryview) -> Iterator[tuple[bool, int, memoryview]]:
    """The sections of a guest and of all parts inside it: whether the part is a component, number and content."""
    left = [memoryview(content)]
    while left:
        part = left.pop()
        is_component = part[: len(COMPONENT_HEADER)] == COMPONENT_HEADER
        with suppress(Malformed):
            for number, body in sections(part, COMPONENT_HEADER if is_component else MODULE_HEADER):
                yield is_component, number, body
                if is_component and number in (_COMPONENTS_MODULE, _COMPONENTS_COMPONENT):
                    left.append(body)


def definitions_of(component: bytes | memoryview, most: int) -> int:
    """The bytes of all that a component, and the components inside it, define outside of core modules and custom
    sections. Each section counts some bytes more. Nothing more is read when the number exceeds `most`."""
    size = 0
    for is_component, number, body in all_sections(component):
        size += _SECTION_COUNTS
        if is_component and number not in (_CUSTOM, _COMPONENTS_MODULE, _COMPONENTS_COMPONENT):
            size += len(body)
        if size > most:
            break
    return size


def end_if_cut_short(content: bytes | memoryview) -> int | None:
    """The place where the last section of a module or component would end, if that lies behind the binary's end; else
    None."""
    reader = WasmReader(content)
    with suppress(Malformed):
        reader.take(len(MODULE_HEADER))
        while reader.at < len(reader.content):
            if reader.byte() > _LAST_SECTION:
                return None
            size = reader.u32()
            if reader.at + size > len(reader.content):
                return reader.at + size
            reader.take(size)
    return None


def memories_of(content: bytes | memoryview) -> int:
    """The number of linear memories that the modules of a guest define. A malformed part counts as far as it can be
    read."""
    count = 0
    for is_component, number, body in all_sections(content):
        if not is_component and number == _MODULES_MEMORIES:
            with suppress(Malformed):
                count += WasmReader(body).u32()
    return count


def module_imports(module: bytes | memoryview) -> Iterator[tuple[str, str]]:
    """The imports of a core module, each a module and a name. Raises `Malformed`."""
    for number, body in sections(module, MODULE_HEADER):
        if number == _MODULES_IMPORTS:
            reader = WasmReader(body)
            for _ in range(reader.u32()):
                yield reader.name(), reader.name()
                _skip_type(reader)


def _skip_type(reader: WasmReader) -> None:
    """Read the kind and the type of an import."""
    kind = reader.byte()
    if kind == _FUNCTION:
        reader.u32()
    elif kind in (_TABLE, _MEMORY):
        if kind == _TABLE:
            reader.byte()
        has_maximum = reader.u32() & _HAS_MAXIMUM
        reader.u32()
        if has_maximum:
            reader.u32()
    elif kind in (_GLOBAL, _TAG):
        reader.take(2)
    else:
        raise Malformed(f"it has an import of an unknown kind ({kind})")


def module_exports(module: bytes | memoryview) -> Iterator[str]:
    """The names of a core module's exports. Raises `Malformed`."""
    for number, body in sections(module, MODULE_HEADER):
        if number == _MODULES_EXPORTS:
            reader = WasmReader(body)
            for _ in range(reader.u32()):
                yield reader.name()
                reader.byte()
                reader.u32()


def custom_sections(module: bytes | memoryview) -> Iterator[str]:
    """The names of a core module's custom sections. Raises `Malformed`."""
    for number, body in sections(module, MODULE_HEADER):
        if number == _CUSTOM:
            yield WasmReader(body).name()


def uses_async(content: bytes | memoryview) -> bool:
    """Whether a component, or one inside it, uses the async canonical ABI: functions that are lifted or lowered as
    async, or built-in functions for tasks, streams and futures. A malformed part counts as far as it can be read."""
    for is_component, number, body in all_sections(content):
        if is_component and number == _COMPONENTS_CANON:
            with suppress(Malformed):
                reader = WasmReader(body)
                if any(_is_async(reader) for _ in range(reader.u32())):
                    return True
    return False


def _is_async(reader: WasmReader) -> bool:
    """Read a canonical definition, as far as its first async part."""
    kind = reader.byte()
    if kind not in (_LIFT, _LOWER):
        if kind in _ABOUT_RESOURCES:
            reader.u32()
        return kind not in _ABOUT_RESOURCES
    reader.byte()
    reader.u32()
    for _ in range(reader.u32()):
        option = reader.byte()
        if option in (_ASYNC, _CALLBACK):
            return True
        if option > _LAST_ENCODING:  # the option has an index: of a memory or a function
            reader.u32()
    if kind == _LIFT:
        reader.u32()
    return False
