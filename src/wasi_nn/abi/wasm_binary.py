"""Reading WebAssembly binaries, as far as their parts tell what they hold."""

from __future__ import annotations

from collections.abc import Iterator

MODULE_HEADER = b"\0asm\x01\0\0\0"
"""How a core module begins."""
COMPONENT_HEADER = b"\0asm\x0d\0\x01\0"
"""How a component begins."""

_MODULES_MEMORIES = 5
_COMPONENTS_MODULE, _COMPONENTS_COMPONENT = 1, 4


class Malformed(Exception):
    """The bytes don't make sense; the text says where."""


class Reader:
    """Reads one run of bytes from its beginning. Raises `Malformed` where they don't go on as they should."""

    def __init__(self, content: bytes | memoryview) -> None:
        self.content = memoryview(content)
        self.at = 0

    def take(self, size: int) -> memoryview:
        """The next `size` bytes."""
        end = self.at + size
        if end > len(self.content):
            raise Malformed(f"it ends in the middle of something {size} bytes long")
        taken = self.content[self.at : end]
        self.at = end
        return taken

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def u32(self) -> int:
        """A number in LEB128, of 32 bits."""
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
        """A text, with its length before it."""
        try:
            return bytes(self.take(self.u32())).decode()
        except UnicodeDecodeError:
            raise Malformed("it has a name that isn't UTF-8") from None

    def extern_name(self) -> str:
        """The name of what a component imports or exports."""
        form = self.byte()
        if form > 1:
            raise Malformed(f"it has a name of an unknown form ({form})")
        return self.name()

    def sort(self) -> bytes:
        """What kind of thing an index is of: one byte, but for the core sorts, which are two."""
        sort = self.byte()
        return bytes((sort, self.byte())) if sort == 0 else bytes((sort,))

    def since(self, start: int) -> bytes:
        """The bytes from a place on that were read."""
        return bytes(self.content[start : self.at])


def sections(content: bytes | memoryview, header: bytes) -> Iterator[tuple[int, memoryview]]:
    """The sections of a module or a component, each with its number."""
    reader = Reader(content)
    if reader.take(len(header)) != header:
        raise Malformed("it has the header of something else")
    while reader.at < len(reader.content):
        number = reader.byte()
        yield number, reader.take(reader.u32())


def memories_of(content: bytes | memoryview) -> int:
    """How many linear memories the modules of a guest define; fewer, if it is malformed."""
    count = 0
    left = [memoryview(content)]
    while left:
        part = left.pop()
        is_component = part[: len(COMPONENT_HEADER)] == COMPONENT_HEADER
        try:
            for number, body in sections(part, COMPONENT_HEADER if is_component else MODULE_HEADER):
                if not is_component:
                    count += Reader(body).u32() if number == _MODULES_MEMORIES else 0
                elif number in (_COMPONENTS_MODULE, _COMPONENTS_COMPONENT):
                    left.append(body)
        except Malformed:
            continue
    return count
