"""Reading flatbuffers just far enough to tell what is in a model, without its schema or its weights.

Untrusted bytes come through here: whatever would lie outside of them is a `ValueError`, and so is a model whose parts
refer to each other so often that reading them would take for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_MAX_STEPS = 5_000_000


class Buffer:
    """The bytes of a flatbuffer, and how much of them has been read."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._left = _MAX_STEPS

    def numbers(self, at: int, count: int, code: str) -> tuple[int, ...]:
        """So many numbers of a kind (as `struct` calls it) at a place."""
        self._left -= count
        size = count * struct.calcsize(code)
        if not 0 <= at <= len(self._data) - size:
            raise ValueError(f"it is no sound flatbuffer: {size} bytes at {at} are outside of it")
        if self._left < 0:
            raise ValueError("its flatbuffer is too large to be looked through")
        return struct.unpack_from(f"<{count}{code}", self._data, at)

    def root(self) -> Table:
        """The table that all else is in."""
        return self.table_at(0)

    def table_at(self, place: int) -> Table:
        """The table that the number at a place refers to."""
        return Table(self, place + self.numbers(place, 1, "I")[0])


class Table:
    """A table of a flatbuffer. Its fields have numbers, and each may be missing."""

    def __init__(self, buffer: Buffer, at: int) -> None:
        self._buffer = buffer
        self._at = at
        fields = at - buffer.numbers(at, 1, "i")[0]
        count = buffer.numbers(fields, 1, "H")[0] // 2
        self._places = buffer.numbers(fields, count, "H")[2:]  # the first two are sizes

    def _place(self, field: int) -> int | None:
        """Where a field is; None if it is missing."""
        place = self._places[field] if field < len(self._places) else 0
        return self._at + place if place else None

    def number(self, field: int, code: str = "i") -> int:
        """A number, which is 0 unless it is there."""
        place = self._place(field)
        return 0 if place is None else self._buffer.numbers(place, 1, code)[0]

    def table(self, field: int) -> Table | None:
        """A table, if it is there."""
        place = self._place(field)
        return None if place is None else self._buffer.table_at(place)

    def count(self, field: int) -> int:
        """How long a list is."""
        return self._list(field)[1]

    def numbers(self, field: int, code: str = "i") -> Sequence[int]:
        """A list of numbers."""
        at, count = self._list(field)
        return self._buffer.numbers(at, count, code) if count else ()

    def tables(self, field: int) -> list[Table]:
        """A list of tables."""
        at, count = self._list(field)
        return [
            Table(self._buffer, at + 4 * index + offset)
            for index, offset in enumerate(self._buffer.numbers(at, count, "I") if count else ())
        ]

    def _list(self, field: int) -> tuple[int, int]:
        place = self._place(field)
        if place is None:
            return 0, 0
        at = place + self._buffer.numbers(place, 1, "I")[0]
        return at + 4, self._buffer.numbers(at, 1, "I")[0]
