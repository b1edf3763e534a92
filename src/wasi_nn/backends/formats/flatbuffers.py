"""Reads flatbuffers as far as it takes to see what is in a model, without its schema or its weights.

The bytes are untrusted. An offset that leads out of them is a `ValueError`, and so is a flatbuffer whose parts refer to
each other so often that reading it would take for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_MAX_NUMBERS = 5_000_000  # read from one flatbuffer, whatever their size


class OutOfBounds(ValueError):
    """An offset leads out of a flatbuffer. `end` is the place of the last byte that would be needed, and one more."""

    def __init__(self, at: int, size: int) -> None:
        super().__init__(f"it is no valid flatbuffer: {size} bytes at {at} are outside of the file")
        self.end = at + size


class FlatBuffer:
    """A flatbuffer, and how much may still be read of it."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._left = _MAX_NUMBERS

    def numbers(self, at: int, count: int, code: str) -> tuple[int, ...]:
        """`count` numbers at a place, of a type by its `struct` code."""
        self._left -= count
        size = count * struct.calcsize(code)
        if not 0 <= at <= len(self._data) - size:
            raise OutOfBounds(at, size)
        if self._left < 0:
            raise ValueError(f"its flatbuffer has more than {_MAX_NUMBERS} numbers")
        return struct.unpack_from(f"<{count}{code}", self._data, at)

    def root(self) -> Table:
        """The table that contains all others."""
        return self.table_at(0)

    def table_at(self, place: int) -> Table:
        """The table that the offset at a place refers to."""
        return Table(self, place + self.numbers(place, 1, "I")[0])


class Table:
    """A table of a flatbuffer: fields with numbers, each of which may be missing."""

    def __init__(self, buffer: FlatBuffer, at: int) -> None:
        self._buffer = buffer
        self.at = at
        """The place of the table in the flatbuffer."""
        fields = at - buffer.numbers(at, 1, "i")[0]
        count = buffer.numbers(fields, 1, "H")[0] // 2
        self._places = buffer.numbers(fields, count, "H")[2:]  # the first two numbers are sizes

    def _place(self, field: int) -> int | None:
        """The place of a field; None if it is missing."""
        place = self._places[field] if field < len(self._places) else 0
        return self.at + place if place else None

    def number(self, field: int, code: str = "i") -> int:
        """A field that is a number; 0 if it is missing."""
        place = self._place(field)
        return 0 if place is None else self._buffer.numbers(place, 1, code)[0]

    @property
    def fields(self) -> list[int]:
        """The numbers of the fields that aren't missing."""
        return [field for field, place in enumerate(self._places) if place]

    def target(self, field: int) -> int:
        """The place of the table, the text or the list that a field refers to; 0 if it is missing."""
        place = self._place(field)
        return 0 if place is None else place + self._buffer.numbers(place, 1, "I")[0]

    def table(self, field: int) -> Table | None:
        """A field that is a table; None if it is missing."""
        place = self._place(field)
        return None if place is None else self._buffer.table_at(place)

    def count(self, field: int) -> int:
        """The length of a field that is a list; 0 if it is missing."""
        return self._list(field)[1]

    def bytes_end(self, field: int) -> int:
        """The place after the last byte of a field that is a list of bytes; 0 if it is missing."""
        return sum(self._list(field))

    def numbers(self, field: int, code: str = "i") -> Sequence[int]:
        """A field that is a list of numbers; empty if it is missing."""
        at, count = self._list(field)
        return self._buffer.numbers(at, count, code) if count else ()

    def text(self, field: int) -> str:
        """A field that is a text; empty if it is missing."""
        return self.raw(field).decode("utf-8", "replace")

    def raw(self, field: int) -> bytes:
        """A field that is a text or a list of bytes, as its bytes; empty if it is missing."""
        return bytes(self.numbers(field, "B"))

    def tables(self, field: int) -> list[Table]:
        """A field that is a list of tables; empty if it is missing."""
        at, count = self._list(field)
        offsets = self._buffer.numbers(at, count, "I") if count else ()
        return [Table(self._buffer, at + 4 * index + offset) for index, offset in enumerate(offsets)]

    def _list(self, field: int) -> tuple[int, int]:
        """The place of a list's first element, and the list's length."""
        at = self.target(field)
        return (at + 4, self._buffer.numbers(at, 1, "I")[0]) if at else (0, 0)
