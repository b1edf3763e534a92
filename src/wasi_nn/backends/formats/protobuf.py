"""Reads protobuf's wire format as far as it takes to see what a model file is, without its schema or its weights.

The bytes are untrusted: every malformed message is a `ValueError`. Nothing is copied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

MAX_MESSAGE = 1 << 31
"""The bytes that a protobuf message may have."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZE = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BITS = 70  # ten bytes, which protobuf needs for a number of 64 bits


class CutShort(ValueError):
    """A field is longer than what is left of its message. `end` is the place where the field, by its `number`, ends."""

    def __init__(self, number: int, end: int) -> None:
        super().__init__("a field is longer than its message")
        self.number = number
        self.end = end


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message in order, each as its number and its value: an int for a varint, else a view."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if not 0 < number < 1 << 29:  # the numbers that protobuf allows
            raise ValueError(f"a field has the number {number}, which protobuf doesn't allow")
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == _BYTES:
            size, position = _varint(message, position)
        elif kind in _FIXED_SIZE:
            size = _FIXED_SIZE[kind]
        else:
            raise ValueError(f"a field has the unknown wire type {kind}")
        if size > end - position:
            raise CutShort(number, position + size)
        yield number, message[position : position + size]
        position += size


class FieldReader:
    """Reads fields of messages, and raises `ValueError` after a number of fields; one that is read several times counts
    each time."""

    def __init__(self, most: int) -> None:
        self._left = most

    def fields(self, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """The fields of a message, as `fields` gives them."""
        for field in fields(message):
            self._left -= 1
            if self._left < 0:
                raise ValueError("it has too many fields")
            yield field

    def messages(self, message: memoryview, *numbers: int) -> Iterator[memoryview]:
        """The fields with one of these numbers that are bytes or messages."""
        for number, value in self.fields(message):
            if number in numbers and not isinstance(value, int):
                yield value

    def last(self, message: memoryview, number: int) -> bytes:
        """The bytes of a field. Of several with its number, the last counts, as in protobuf."""
        return b"".join(deque(self.messages(message, number), 1))


Paths = Mapping[str, Mapping[int, str]]
"""For each kind of message, the fields that have further messages, and the kinds of these."""


def nodes(reader: FieldReader, kind: str, message: memoryview, paths: Paths) -> Iterator[dict[int, memoryview]]:
    """The messages of the kind `node` in a message, on all paths: the fields of each that are bytes and no path, the
    last of each number. Raises `ValueError` as the reader does."""
    todo = [(kind, message)]
    while todo:
        kind, message = todo.pop()
        content: dict[int, memoryview] = {}
        for number, value in reader.fields(message):
            if isinstance(value, int):
                continue
            if number in paths[kind]:
                todo.append((paths[kind][number], value))
            else:
                content[number] = value
        if kind == "node":
            yield content


def varints(packed: memoryview) -> Iterator[int]:
    """The numbers of a packed field."""
    position = 0
    while position < len(packed):
        value, position = _varint(packed, position)
        yield value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < _MAX_VARINT_BITS and position < len(data):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("a number (varint) doesn't end")
